// The typed client of the admin API. The session cookie proves who asks; the extra header proves
// that the request comes from this page and not from another site.
import createClient from 'openapi-fetch'
import { Problem, unreachable } from './problem'
import type { paths } from './schema'

/** Sent with every request; other sites cannot send it. */
export const CSRF = { 'x-credentialflow-csrf': '1' }

export const api = createClient<paths, 'application/json'>({
  baseUrl: window.location.origin,
  credentials: 'same-origin',
  headers: CSRF,
})

/** The answer's body, or a thrown [Problem]. */
export async function ask<T>(request: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await request.catch((cause: unknown) => {
    throw cause instanceof TypeError ? unreachable() : cause
  })
  if (!response.ok) throw Problem.from(error, response.status)
  return data as T
}
