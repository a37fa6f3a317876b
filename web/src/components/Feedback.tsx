// What a page says when there is nothing yet, something failed, or it is still asking.
import { Button, Skeleton, Stack, Text } from '@mantine/core'
import type { ReactNode } from 'react'
import { Problem } from '@/api/problem'
import { sentence } from '@/lib/format'
import type { Tone } from '@/lib/state'
import { Command } from './Copy'
import { Icon, type IconName } from './icons'

export function Banner({ tone, title, children, action }: { tone: Tone; title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="banner" data-tone={tone} role={tone === 'bad' ? 'alert' : 'status'}>
      <Icon name="alert" />
      <Stack gap={2} flex={1} miw={0}>
        <Text size="sm" fw={600}>
          {title}
        </Text>
        {children && (
          <Text size="sm" component="div">
            {children}
          </Text>
        )}
      </Stack>
      {action}
    </div>
  )
}

/** A failure: what happened, what to do, and a way to try again. */
export function Failure({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = Problem.of(error)
  return (
    <Banner tone="bad" title={problem.title} action={retry && <Button size="xs" variant="default" onClick={retry}>Try again</Button>}>
      {sentence(problem.message)}
      {problem.hint && <> {sentence(problem.hint)}</>}
      {problem.problems.length > 0 && (
        <ul>
          {problem.problems.map((one) => (
            <li key={`${one.path} ${one.code} ${one.detail}`}>
              <span className="mono">{one.path}</span>: {one.detail}
              {one.hint && ` (${one.hint})`}
            </li>
          ))}
        </ul>
      )}
    </Banner>
  )
}

/** Nothing here yet: why, and the next step. */
export function Empty({ icon, title, children, command, action }: { icon: IconName; title: string; children: ReactNode; command?: string; action?: ReactNode }) {
  return (
    <Stack align="center" gap="sm" px="md" py={56} ta="center">
      <Text c="dimmed" component="span">
        <Icon name={icon} size={30} />
      </Text>
      <Text fw={600}>{title}</Text>
      <Text size="sm" c="dimmed" maw={480}>
        {children}
      </Text>
      {command && (
        <div style={{ maxWidth: '100%', width: 620 }}>
          <Command text={command} />
        </div>
      )}
      {action}
    </Stack>
  )
}

export function Rows({ count = 6 }: { count?: number }) {
  return (
    <Stack gap={14} p="md" aria-busy="true" aria-label="Loading" role="status">
      {Array.from({ length: count }, (_, row) => (
        <Skeleton key={row} height={18} radius="sm" width={`${92 - ((row * 17) % 30)}%`} />
      ))}
    </Stack>
  )
}
