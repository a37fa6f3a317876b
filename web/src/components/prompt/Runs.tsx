// Runs of a prompt's tests: a line for each, and one in full with every check.
import { Button, Group, Stack, Text, VisuallyHidden } from '@mantine/core'
import { createColumnHelper } from '@tanstack/react-table'
import { Link } from '@tanstack/react-router'
import type { Prompt, PromptRun, PromptTestResult } from '@/api/prompts'
import { DataTable } from '@/components/DataTable'
import { Empty } from '@/components/Feedback'
import { Icon } from '@/components/icons'
import { Moment } from '@/components/Moment'
import { Card } from '@/components/Page'
import { Pill, Tag } from '@/components/Pill'
import { count, duration, sentence } from '@/lib/format'

/** Runs that the page shows; more are told by the command line. */
const SHOWN = 20

interface RunsProps {
  prompt: Prompt
  runs: PromptRun[]
  onOpen: (run: PromptRun) => void
  onTest: () => void
}

export function Runs({ prompt, runs, onOpen, onTest }: RunsProps) {
  const { name, tests = [] } = prompt
  const [newest] = prompt.versions.map(({ version }) => version).sort((a, b) => b - a)
  if (tests.length === 0) {
    return (
      <Card title="Tests" pad={false}>
        <Empty icon="check" title="No tests" command={'tests:\n  - name: likes\n    variables: { text: "I love it" }\n    checks: [{ contains: positive }]'}>
          Without tests, labels move freely. Add some to the declaration: then a label moves only to a version that passed them.
        </Empty>
      </Card>
    )
  }
  return (
    <Card title="Tests" pad={false} aside={<Text size="sm" c="dimmed">{count(tests.length)} {tests.length === 1 ? 'test' : 'tests'}: {tests.map((test) => test.name).join(', ')}</Text>}>
      {runs.length === 0 ? (
        <Empty icon="check" title="They were never run" command={`credentialflow prompt test ${name} --version ${newest}`}
          action={<Button variant="default" onClick={onTest}>Run them here</Button>}>
          Each test is a real call with a key of yours. A label moves only to a version that passed.
        </Empty>
      ) : (
        <DataTable label="Runs of the tests" columns={columns} rows={runs.slice(0, SHOWN)} rowId={({ version, run }) => `${version}-${run}`} onOpen={onOpen} />
      )}
      {runs.length > SHOWN && <Text size="sm" c="dimmed" px={20} pb="sm">Older runs are told by `credentialflow prompt runs {name}`.</Text>}
    </Card>
  )
}

const column = createColumnHelper<PromptRun>()
const columns = [
  column.display({
    id: 'run',
    header: 'Run',
    cell: ({ row: { original: { prompt: name, version, run } } }) => (
      <Link to="/prompts/$name" params={{ name }} search={(before) => ({ ...before, run: `${version}-${run}` })} replace resetScroll={false}>Version {version}, run {run}</Link>
    ),
  }),
  column.display({
    id: 'result',
    header: 'Result',
    cell: ({ row: { original: { passed, present } } }) => (
      <Group gap={8} wrap="nowrap"><Pill tone={passed ? 'good' : 'bad'}>{passed ? 'Passed' : 'Failed'}</Pill>{!present && <Tag>of something else</Tag>}</Group>
    ),
  }),
  column.display({
    id: 'failed',
    header: 'Failed',
    meta: { from: 'md' },
    cell: ({ row: { original: { tests } } }) => tests.filter(({ passed }) => !passed).map(({ name }) => name).join(', ') || <span className="quiet">none</span>,
  }),
  column.accessor('time', { header: 'When', cell: ({ getValue }) => <Moment time={getValue()} /> }),
  column.accessor('actor', { header: 'Who', meta: { from: 'md' } }),
]

/** A run in full. */
export function RunDetails({ run: { tests, passed, present, time, actor } }: { run: PromptRun }) {
  const failed = tests.filter((test) => !test.passed).length
  return (
    <Stack gap="lg">
      <Group gap="md">
        <Pill tone={passed ? 'good' : 'bad'}>{passed ? 'All tests passed' : `${count(failed)} of ${count(tests.length)} failed`}</Pill>
        <Text size="sm" c="dimmed">by {actor}, <Moment time={time} /></Text>
      </Group>
      {!present && <Text size="sm" c="dimmed">The texts, variables, model or tests were others then: this run decides nothing any more.</Text>}
      {tests.map((test) => <Test key={test.name} test={test} />)}
    </Stack>
  )
}

function Test({ test: { name, passed, failed = [], checks = [], answer, millis } }: { test: PromptTestResult }) {
  return (
    <section aria-label={`Test ${name}`}>
      <Group justify="space-between" mb={6}>
        <Group gap="sm"><Text component="h3" size="sm" fw={620} m={0}>{name}</Text><Pill tone={passed ? 'good' : 'bad'}>{passed ? 'Passed' : 'Failed'}</Pill></Group>
        <Text size="sm" c="dimmed" className="num">{duration(millis * 1000)}</Text>
      </Group>
      {checks.length > 0 ? (
        <ul className="checks" aria-label={`Checks of ${name}`}>
          {checks.map(({ expected, passed: ok }, index) => (
            // Two checks may expect the same.
            <li key={`${index} ${expected}`} data-tone={ok ? 'good' : 'bad'}>
              <Icon name={ok ? 'check' : 'close'} size={14} /> <VisuallyHidden component="span">{ok ? 'Passed: ' : 'Failed: '}</VisuallyHidden>{expected}
            </li>
          ))}
        </ul>
      ) : failed.map((why) => <Text key={why} size="sm">{sentence(why)}</Text>)}
      {answer !== undefined && answer !== null && <div className="prompt-text" tabIndex={0} role="group" aria-label={`Answer to ${name}`}>{answer}</div>}
    </section>
  )
}
