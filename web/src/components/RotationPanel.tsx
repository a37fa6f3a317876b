// A rotation as it goes: its steps, and how many requests still use the old version.
import { Group, Stack, Text } from '@mantine/core'
import type { RotationView } from '@/api/types'
import { count, dateTime, sentence } from '@/lib/format'
import { rotationSteps } from '@/lib/rotation'
import { Moment } from './Moment'
import { Card } from './Page'
import { Pill } from './Pill'
import { Steps } from './Steps'

interface RotationPanelProps {
  rotation: RotationView
  /** Whether the credential declares how a new version is tried. */
  verified: boolean
}

export function RotationPanel({ rotation, verified }: RotationPanelProps) {
  const { from_version: from, to_version: to, step, finished, in_flight: inFlight, deadline, message } = rotation
  const state = step === 'done' ? <Pill tone="good">Done</Pill> : step === 'rolled_back' ? <Pill tone="bad">Taken back</Pill> : rotation.waiting_for ? <Pill tone="warn">Waits for {rotation.waiting_for === 'value' ? 'its value' : 'an approval'}</Pill> : <Pill tone="info" live>Under way</Pill>
  return (
    <Card title={finished ? 'Last rotation' : 'Rotation'} aside={state}>
      <Stack gap="lg">
        <Group gap="xl" align="flex-start">
          <Figure name="Versions" value={`${from ? `v${from}` : 'none'} → ${to ? `v${to}` : '…'}`} />
          {from && !finished && <Figure name={`Requests on v${from} now`} value={count(inFlight)} live />}
        </Group>
        <Text size="sm" aria-live="polite">{sentence(message)}</Text>
        <Steps label="Steps of the rotation" steps={rotationSteps(rotation, verified)} />
        <Text size="xs" c="dimmed">
          Started <Moment time={rotation.started} />
          {!finished && deadline && <>. The old version ends at the latest on {dateTime(deadline)}</>}
          {finished && <>, finished <Moment time={rotation.updated} /></>}.
        </Text>
      </Stack>
    </Card>
  )
}

function Figure({ name, value, live = false }: { name: string; value: string; live?: boolean }) {
  return (
    <div>
      <Text size="xs" c="dimmed" fw={500}>{name}</Text>
      <div className="tile-value" data-testid={live ? 'in-flight' : undefined}>{value}</div>
    </div>
  )
}
