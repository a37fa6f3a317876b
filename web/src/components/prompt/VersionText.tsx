// What a version says, and what is different from another one.
import { Group, Select, Stack, Text, VisuallyHidden } from '@mantine/core'
import { useMemo } from 'react'
import type { Prompt, PromptVersion } from '@/api/prompts'
import { Card } from '@/components/Page'
import { Tag } from '@/components/Pill'
import { compare, labelsOf, newestFirst, parts, type ComparedPart, type PromptSearch } from '@/lib/prompts'

interface VersionTextProps {
  prompt: Prompt
  shown: PromptVersion
  /** The version that it is compared with. */
  against: number | undefined
  onShow: (next: Partial<PromptSearch>) => void
}

export function VersionText({ prompt, shown, against, onShow }: VersionTextProps) {
  const other = prompt.versions.find(({ version }) => version === against && version !== shown.version)
  const compared = useMemo(() => {
    const newer = parts(prompt, shown)
    return other ? compare(parts(prompt, other), newer) : newer.map(({ name, text }): ComparedPart => ({ name, pieces: [{ is: 'same', text }], changed: false }))
  }, [prompt, shown, other])
  const word = ({ version }: PromptVersion) => ({ value: String(version), label: [`Version ${version}`, ...labelsOf(prompt, version)].join(', ') })
  const versions = newestFirst(prompt)
  const changed = compared.filter((part) => part.changed).length
  return (
    <Card title={other ? `From version ${other.version} to version ${shown.version}` : `What version ${shown.version} says`} aside={
      <Group gap="sm">
        <Select aria-label="Version shown" size="xs" w={190} allowDeselect={false} data={versions.map(word)} value={String(shown.version)}
          onChange={(value) => value && onShow({ version: Number(value) })} />
        <Select aria-label="Compared with" size="xs" w={190} clearable placeholder="Compare with…" disabled={versions.length < 2}
          data={versions.filter(({ version }) => version !== shown.version).map(word)} value={other ? String(other.version) : null}
          onChange={(value) => onShow({ version: shown.version, against: value ? Number(value) : undefined })} />
      </Group>
    }>
      <Stack gap="md">
        {shown.description && <Text size="sm" c="dimmed">{shown.description}</Text>}
        {other && <Text size="sm" c="dimmed" role="status">{changed === 0 ? 'Both say the same in the same way.' : `${changed} of ${compared.length} parts differ.`}</Text>}
        {compared.map((part) => <PartText key={part.name} part={part} compared={other !== undefined} />)}
      </Stack>
    </Card>
  )
}

function PartText({ part: { name, pieces, changed }, compared }: { part: ComparedPart; compared: boolean }) {
  return (
    <section aria-label={name}>
      <Group gap="xs" mb={6}>
        <Text component="h3" size="sm" fw={600} m={0}>{name}</Text>
        {compared && changed && <Tag tone="info">differs</Tag>}
      </Group>
      <div className="prompt-text" tabIndex={0} role="group" aria-label={`Text of ${name}`}>
        {pieces.map(({ is, text }, index) => {
          // Pieces have no names of their own, and the list is made anew as a whole.
          if (is === 'same') return <span key={index}>{text}</span>
          const Mark = is === 'added' ? 'ins' : 'del'
          return <Mark key={index}><VisuallyHidden component="span">{is === 'added' ? '[added: ' : '[removed: '}</VisuallyHidden>{text}<VisuallyHidden component="span">]</VisuallyHidden></Mark>
        })}
      </div>
    </section>
  )
}
