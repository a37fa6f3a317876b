// One prompt: what each version says, which one is in use, how its tests went, and what happened to it.
import { Drawer, Group, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { prompts, type PromptItem } from '@/api/prompts'
import { Failure, Rows } from '@/components/Feedback'
import { LinkButton } from '@/components/LinkButton'
import { Card, Page } from '@/components/Page'
import { Tag } from '@/components/Pill'
import { CallPrompt } from '@/components/prompt/CallPrompt'
import { History } from '@/components/prompt/History'
import { PromoteDialog, type Promotion } from '@/components/prompt/PromoteDialog'
import { RunDetails, Runs } from '@/components/prompt/Runs'
import { TestDialog } from '@/components/prompt/TestDialog'
import { VersionText } from '@/components/prompt/VersionText'
import { Versions } from '@/components/prompt/Versions'
import { Problem } from '@/api/problem'
import { PRODUCTION, shownVersion, versionBefore, type PromptSearch } from '@/lib/prompts'

const BACK = { to: '/prompts', label: 'Prompts' } as const

export function PromptPage() {
  const { name } = useParams({ from: '/inside/prompts/$name' })
  const { data: item, error, refetch } = useQuery(prompts.one(name))
  if (item) return <Stored item={item} error={error} retry={() => void refetch()} key={name} />
  const lead = error && Problem.of(error).status === 404 ? 'It may have been deleted; the audit log tells by whom.' : undefined
  return <Page title={name} back={BACK} lead={lead}>{error ? <Failure error={error} retry={() => void refetch()} /> : <Card><Rows /></Card>}</Page>
}

function Stored({ item, error, retry }: { item: PromptItem; error: unknown; retry: () => void }) {
  const { spec: prompt, revision } = item
  const { name } = prompt
  const search = useSearch({ from: '/inside/prompts/$name' })
  const navigate = useNavigate({ from: '/prompts/$name' })
  const { data: runs, error: noRuns } = useQuery(prompts.runs(name))
  const { data: history, error: noHistory } = useQuery(prompts.history(name))
  const [promotion, setPromotion] = useState<Promotion>()
  const [testing, setTesting] = useState<number>()
  const change = (next: Partial<PromptSearch>) => void navigate({ search: (before) => ({ ...before, ...next }), replace: true })
  const known = runs?.items ?? []
  const shown = shownVersion(prompt, search.version)
  const run = known.find((one) => `${one.version}-${one.run}` === search.run)
  const events = history?.items ?? []
  const back = versionBefore(prompt, events, PRODUCTION)
  return (
    <Page title={name} back={BACK} lead={<Lead item={item} />}
      actions={<LinkButton variant="default" to="/config/$kind/$name" params={{ kind: 'prompts', name }}>Edit</LinkButton>}>
      {Boolean(error) && <Failure error={error} retry={retry} />}
      {noRuns && <Failure error={noRuns} />}
      <Versions prompt={prompt} runs={known} shown={shown?.version} back={back}
        onShow={(version) => change({ version, against: undefined })}
        onTest={setTesting} onPromote={setPromotion} />
      {shown && <VersionText prompt={prompt} shown={shown} against={search.against} onShow={change} />}
      <Runs prompt={prompt} runs={known} onOpen={(one) => change({ run: `${one.version}-${one.run}` })} onTest={() => setTesting(shown?.version)} />
      {noHistory && <Failure error={noHistory} />}
      <div className="grid grid-2">
        <CallPrompt prompt={prompt} key={revision} />
        <History events={events} loading={!history && !noHistory} />
      </div>
      <PromoteDialog promotion={promotion} prompt={prompt} revision={revision} runs={known}
        onTest={(version) => { setPromotion(undefined); setTesting(version) }} onClose={() => setPromotion(undefined)} />
      <TestDialog name={name} version={testing} onClose={() => setTesting(undefined)} />
      <Drawer opened={run !== undefined} onClose={() => change({ run: undefined })} position="right" size={540}
        title={<Text fw={620}>{run && `Run ${run.run} of version ${run.version}`}</Text>} closeButtonProps={{ 'aria-label': 'Close' }}>
        {run && <RunDetails run={run} />}
      </Drawer>
    </Page>
  )
}

function Lead({ item: { spec } }: { item: PromptItem }) {
  const version = spec.labels?.[PRODUCTION]
  return (
    <Group gap="md">
      {version ? <Tag tone="good">version {version} in production</Tag> : <Tag tone="warn">no version in production</Tag>}
      {spec.description}
      <Link to="/calls" search={{ prompt: spec.name }} style={{ color: 'var(--cf-accent)' }}>See its calls</Link>
    </Group>
  )
}
