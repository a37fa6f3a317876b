// One request's story, beside the list it came from.
import { Drawer, Group, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { queries } from '@/api/queries'
import type { CallRow } from '@/api/types'
import { bytes, count, dateTime, duration, usd, words } from '@/lib/format'
import { isBill, isTurn, mcpEnd } from '@/lib/asked'
import { callTone, isFromCache } from '@/lib/state'
import { spans, story } from '@/lib/story'
import { CopyButton } from './Copy'
import { Banner, Failure, Rows } from './Feedback'
import { Facts } from './Page'
import { Pill, Tag } from './Pill'
import { Steps } from './Steps'

export function CallDrawer({ id, onClose }: { id: string | undefined; onClose: () => void }) {
  return (
    <Drawer opened={id !== undefined} onClose={onClose} position="right" size={540} title={<Text fw={620}>One request</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}>
      {id && <Story id={id} />}
    </Drawer>
  )
}

function Story({ id }: { id: string }) {
  const { data: call, error, refetch } = useQuery(queries.call(id))
  if (error) return <Failure error={error} retry={() => void refetch()} />
  if (!call) return <Rows />
  return (
    <Stack gap="xl">
      <Stack gap={6}>
        <Text className="mono" fw={600} style={{ overflowWrap: 'anywhere' }}>{call.method} {call.path}</Text>
        <Group gap="md">
          <Pill tone={callTone(call)}>{call.status ? `${call.status}, ` : ''}{words(call.outcome)}</Pill>
          <Text size="sm" c="dimmed">{dateTime(call.time)}</Text>
        </Group>
        {isTurn(call) && <Text size="sm" c="dimmed">{call.total_us === 0 ? 'A transcript' : 'An answer'} within a session, which has a line of its own in the same trace.</Text>}
        {isBill(call) && <Text size="sm" c="dimmed">No request: this is what all calls of the batch cost together.</Text>}
      </Stack>
      <Part title="What happened"><Steps label="What happened" steps={story(call)} /></Part>
      {call.total_us > 0 && <Part title="Where the time went"><Durations call={call} /></Part>}
      {call.mcp && <Part title="MCP"><McpFacts mcp={call.mcp} /></Part>}
      {call.delegated && <Part title="Agent"><AgentFacts call={call} delegated={call.delegated} /></Part>}
      {call.model && <Part title="Model"><ModelFacts model={call.model} /></Part>}
      <Part title="Details">
        <Facts rows={[
          ['Request id', <Code key="r" text={call.request_id} label="Copy the request id" />],
          ['Trace id', <Code key="t" text={call.trace_id} label="Copy the trace id" />],
          ['Key id', call.key && <Link key="k" to="/calls" search={{ key: call.key }} style={{ color: 'var(--cf-accent)' }}>{call.key}</Link>],
          ['Key metadata', Object.entries(call.key_metadata ?? {}).map(([name, value]) => `${name}: ${value}`).join(', ')],
          ['Credential', call.credential && (
            <Link key="c" to="/credentials/$name" params={{ name: call.credential }} style={{ color: 'var(--cf-accent)' }}>
              {call.credential}, version {call.credential_version}
            </Link>
          )],
          ['Attempts', count(call.attempts)],
          ['Received', bytes(call.bytes_in)],
          ['Sent', bytes(call.bytes_out)],
        ]} />
      </Part>
    </Stack>
  )
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section>
      <Text component="h3" size="sm" fw={620} m={0} mb="sm">{title}</Text>
      {children}
    </section>
  )
}

function Durations({ call }: { call: CallRow }) {
  return (
    <Stack gap={10}>
      {spans(call).map(({ label, us, start, share, tone }) => (
        <div key={label}>
          <Group justify="space-between" mb={4}>
            <Text size="sm" c="dimmed">{label}</Text>
            <Text size="sm" className="num">{us > 0 ? duration(us) : '–'}</Text>
          </Group>
          <div className="span-track" data-tone={tone} aria-hidden="true">
            {us > 0 && <i style={{ left: `${start * 100}%`, width: `${share * 100}%` }} />}
          </div>
        </div>
      ))}
    </Stack>
  )
}

function McpFacts({ mcp: { method, name, end, guardrails } }: { mcp: NonNullable<CallRow['mcp']> }) {
  const failed = mcpEnd(end)
  return (
    <Facts rows={[
      ['Method', <span key="m" className="mono">{method}</span>],
      ['Names', name && <span className="mono">{name}</span>],
      ['Answer', failed ? <Tag tone={failed.tone}>{failed.label}</Tag> : 'a result'],
      ['Guardrails', guardrails?.join(', ')],
    ]} />
  )
}

function AgentFacts({ call, delegated: { name, actor, parent, root } }: { call: CallRow; delegated: NonNullable<CallRow['delegated']> }) {
  const family = (key: string) => <Link to="/calls" search={{ key, below: true }} className="mono" style={{ color: 'var(--cf-accent)' }}>{key}</Link>
  return (
    <Facts rows={[
      ['Used by', actor && <Link to="/calls" search={{ agent: actor }} style={{ color: 'var(--cf-accent)' }}>{actor}</Link>],
      ['Key', <Link key="k" to="/keys/$name" params={{ name }} style={{ color: 'var(--cf-accent)' }}>{name}</Link>],
      ['Comes from', <span key="p">{family(parent)} <span className="quiet">and those below it</span></span>],
      ['First of its chain', root !== parent && root !== call.key && family(root)],
    ]} />
  )
}

function ModelFacts({ model }: { model: NonNullable<CallRow['model']> }) {
  const { tokens } = model
  return (
    <Stack gap="md">
      {model.cost_unknown && !tokens && (
        <Banner tone="warn" title="Unknown cost">
          {model.provider} served the call and its count of tokens did not arrive: it sends none, or the caller left before the end.
        </Banner>
      )}
      {model.cost_unknown && tokens && (
        <Banner tone="warn" title="Unknown price">
          There were tokens, but no price is known for {model.provider_model}. Add prices to the target of model {model.model}.
        </Banner>
      )}
      <Facts rows={[
        ['Model', <>{model.model} {model.streamed && <Tag>streamed</Tag>}</>],
        ['Asked for', model.asked && `${model.asked}; ${model.model} served instead, as a budget is used up`],
        ['Prompt', model.prompt && (
          <Link to="/prompts/$name" params={{ name: model.prompt }} search={model.prompt_version ? { version: model.prompt_version } : {}} style={{ color: 'var(--cf-accent)' }}>
            {model.prompt}, version {model.prompt_version}
          </Link>
        )],
        ['Served by', isFromCache(model.cache) ? "the model's cache" : `${model.provider}, ${model.provider_model}`],
        ['Cache', model.cache && CACHE[model.cache]],
        ['End user', model.user],
        ['Guardrails', model.guardrails?.join(', ')],
        ['Tried before', model.tried?.map(one => `${one.provider}, ${one.provider_model}: ${words(one.end)}`).join('; ')],
        ['Tokens in', tokens && `${count(tokens.input)}${tokens.cached_input ? `, of those ${count(tokens.cached_input)} cached` : ''}${tokens.cache_write ? `, ${count(tokens.cache_write)} written to the cache` : ''}`],
        ['Tokens out', tokens && `${count(tokens.output)}${tokens.reasoning ? `, of those ${count(tokens.reasoning)} for reasoning` : ''}`],
        ['Cost', model.cost_unknown ? 'unknown' : model.cost_usd && <>{usd(model.cost_usd)} {model.cost_estimated && <Tag tone="warn">estimated</Tag>}</>],
        ['Saved', model.saved_usd && usd(model.saved_usd)],
        ['Charged to', model.budgets?.map((budget) => budget.split('@')[0]).join(', ')],
      ]} />
    </Stack>
  )
}

/** What the model's cache did. */
const CACHE: Record<NonNullable<NonNullable<CallRow['model']>['cache']>, string> = {
  hit: 'it answered: the same call was answered before',
  similar: 'it answered: nearly the same was asked before',
  miss: 'it had no answer',
  refresh: 'a new answer was wanted, and is kept',
  bypass: 'it was not asked',
}

function Code({ text, label }: { text: string; label: string }) {
  return (
    <Group gap={4} wrap="nowrap" my={-4}>
      <span className="mono">{text}</span>
      <CopyButton text={text} label={label} />
    </Group>
  )
}
