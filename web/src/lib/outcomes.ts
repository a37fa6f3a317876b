// The closed list of outcome reasons, in the order a person looks for them. The type makes the
// compiler refuse a word the API does not know.
import type { CallRow } from '@/api/types'

export const OUTCOMES: CallRow['outcome'][] = [
  'served', 'unauthenticated', 'forbidden', 'source_not_allowed', 'quarantined', 'secret_in_request', 'revoked',
  'rate_limited', 'too_many_failures', 'budget_exceeded', 'budget_unavailable', 'price_unknown',
  'prompt_blocked', 'answer_blocked', 'mcp_not_allowed', 'mcp_session_unknown', 'invalid_mcp_message',
  'no_route', 'method_not_allowed', 'model_not_found', 'object_not_found', 'file_unknown', 'invalid_model_call', 'malformed_request', 'uri_too_long',
  'headers_too_large', 'body_too_large', 'request_timeout', 'caller_closed', 'credential_unavailable',
  'no_healthy_endpoint', 'upstream_connect_failed', 'upstream_connect_timeout', 'upstream_tls_failed',
  'upstream_timeout', 'upstream_credential_refused', 'upstream_reset', 'upstream_malformed', 'upstream_stalled', 'upstream_truncated',
  'overloaded', 'internal',
]
