// The versions of a prompt: which labels stand for each, how its tests went, and what can be done with it.
import { Button, Group, VisuallyHidden } from '@mantine/core'
import { createColumnHelper } from '@tanstack/react-table'
import { Link } from '@tanstack/react-router'
import { useMemo } from 'react'
import type { Prompt, PromptRun, PromptVersion } from '@/api/prompts'
import { DataTable } from '@/components/DataTable'
import { Card } from '@/components/Page'
import { Pill, Tag } from '@/components/Pill'
import { labelsOf, newestFirst, PRODUCTION, testState } from '@/lib/prompts'
import type { Promotion } from './PromoteDialog'

interface VersionsProps {
  prompt: Prompt
  runs: PromptRun[]
  /** The version whose text is shown. */
  shown: number | undefined
  /** The version that was in production before. */
  back: number | undefined
  onShow: (version: number) => void
  onTest: (version: number) => void
  onPromote: (promotion: Promotion) => void
}

export function Versions({ prompt, runs, shown, back, onShow, onTest, onPromote }: VersionsProps) {
  const columns = useMemo(() => columnsOf({ prompt, runs, shown, back, onShow, onTest, onPromote }), [prompt, runs, shown, back, onShow, onTest, onPromote])
  return (
    <Card title="Versions" pad={false} aside={back !== undefined && (
      <Button size="xs" variant="default" onClick={() => onPromote({ version: back, label: PRODUCTION, isBack: true })}>Back to version {back}</Button>
    )}>
      <DataTable label="Versions" columns={columns} rows={newestFirst(prompt)} rowId={({ version }) => String(version)} onOpen={({ version }) => onShow(version)} />
    </Card>
  )
}

const column = createColumnHelper<PromptVersion>()
const columnsOf = ({ prompt, runs, shown, onTest, onPromote }: VersionsProps) => [
  column.accessor('version', {
    header: 'Version',
    cell: ({ getValue }) => (
      <Link to="/prompts/$name" params={{ name: prompt.name }} search={{ version: getValue() }} replace resetScroll={false}
        aria-current={getValue() === shown ? 'true' : undefined}>v{getValue()}</Link>
    ),
  }),
  column.display({
    id: 'labels',
    header: 'Labels',
    cell: ({ row: { original: { version } } }) => (
      <Group gap={6}>{labelsOf(prompt, version).map((label) => <Tag key={label} tone={label === PRODUCTION ? 'good' : 'info'}>{label}</Tag>)}</Group>
    ),
  }),
  column.display({
    id: 'tests',
    header: 'Tests',
    cell: ({ row: { original: { version } } }) => {
      const { tone, label } = testState(prompt, runs, version)
      return <Pill tone={tone}>{label}</Pill>
    },
  }),
  column.accessor('description', {
    header: 'What is new',
    meta: { from: 'lg' },
    cell: ({ getValue }) => <div className="truncate" style={{ maxWidth: 340 }}>{getValue() ?? ''}</div>,
  }),
  column.display({
    id: 'deeds',
    header: () => <VisuallyHidden>What can be done</VisuallyHidden>,
    meta: { end: true },
    cell: ({ row: { original: { version } } }) => (
      <Group gap={6} justify="flex-end" wrap="nowrap">
        {(prompt.tests?.length ?? 0) > 0 && <Button size="compact-xs" variant="default" aria-label={`Test version ${version}`} onClick={() => onTest(version)}>Test</Button>}
        {prompt.labels?.[PRODUCTION] !== version && (
          <Button size="compact-xs" variant="default" aria-label={`Promote version ${version}`} onClick={() => onPromote({ version, label: PRODUCTION })}>Promote</Button>
        )}
      </Group>
    ),
  }),
]
