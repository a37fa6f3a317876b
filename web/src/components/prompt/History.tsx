// What happened to a prompt: who did what, when and why, from the audit log.
import { createColumnHelper } from '@tanstack/react-table'
import { Text } from '@mantine/core'
import { HISTORY_LIMIT, type AuditEvent } from '@/api/prompts'
import { DataTable } from '@/components/DataTable'
import { Empty, Rows } from '@/components/Feedback'
import { Moment } from '@/components/Moment'
import { Card } from '@/components/Page'
import { historyOf, toldEvent } from '@/lib/prompts'

export function History({ events, loading }: { events: AuditEvent[]; loading: boolean }) {
  return (
    <Card title="History" pad={false}>
      {loading && <Rows />}
      {!loading && events.length === 0 && <Empty icon="calls" title="Nothing yet">Versions, labels and runs of tests are told here, with who and why.</Empty>}
      {events.length > 0 && <DataTable label="History" columns={columns} rows={historyOf(events)} rowId={({ seq }) => String(seq)} />}
      {events.length >= HISTORY_LIMIT && <Text size="sm" c="dimmed" px={20} pb="sm">What was before is told by `credentialflow audit list`.</Text>}
    </Card>
  )
}

const column = createColumnHelper<AuditEvent>()
const columns = [
  column.accessor('time', { header: 'When', cell: ({ getValue }) => <Moment time={getValue()} /> }),
  column.display({
    id: 'what',
    header: 'What',
    cell: ({ row: { original } }) => {
      const { what, why } = toldEvent(original)
      return <>{what}{why && <Text size="sm" c="dimmed" style={{ overflowWrap: 'anywhere' }}>“{why}”</Text>}</>
    },
  }),
  column.accessor('actor.name', { header: 'Who' }),
]
