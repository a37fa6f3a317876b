// Says on every page that the vault is sealed, and what opens it.
import { Stack } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { queries } from '@/api/queries'
import { sealedNote } from '@/lib/seal'
import { Command } from './Copy'
import { Banner } from './Feedback'

/** Asked for apart from everything else: while the vault is sealed, all the rest is refused. */
export function SealBanner() {
  const { data } = useQuery(queries.seal())
  const note = sealedNote(data)
  if (!note) return null
  return (
    <Banner tone="warn" title={note.title}>
      <Stack gap="xs">
        {note.text}
        {note.command && <Command text={note.command} />}
      </Stack>
    </Banner>
  )
}
