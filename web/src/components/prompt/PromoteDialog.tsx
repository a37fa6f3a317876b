// Lets a label stand for a version. Where its tests did not pass, it says so and shows which checks failed.
import { Autocomplete, Button, Modal, Stack, Text, TextInput } from '@mantine/core'
import { useEffect, useState, type FormEvent } from 'react'
import { usePromotePrompt, type Prompt, type PromptRun } from '@/api/prompts'
import { DialogEnd, StoredNote, useUnenforced } from '@/components/Dialogs'
import { Banner } from '@/components/Feedback'
import { isName, NAME_HINT } from '@/lib/input'
import { isPromotable, presentRun, PRODUCTION } from '@/lib/prompts'
import { RunDetails } from './Runs'

export interface Promotion {
  version: number
  label: string
  /** Whether it is the way back. */
  isBack?: boolean
}

interface PromoteDialogProps {
  promotion: Promotion | undefined
  prompt: Prompt
  revision: number
  runs: PromptRun[]
  onTest: (version: number) => void
  onClose: () => void
}

export function PromoteDialog({ promotion, onClose, ...rest }: PromoteDialogProps) {
  const title = promotion && (promotion.isBack ? `Back to version ${promotion.version}` : `Promote version ${promotion.version}`)
  return (
    <Modal opened={promotion !== undefined} onClose={onClose} title={<Text fw={620}>{title}</Text>} closeButtonProps={{ 'aria-label': 'Close' }}>
      {promotion && <PromoteForm promotion={promotion} onClose={onClose} {...rest} />}
    </Modal>
  )
}

function PromoteForm({ promotion, prompt, revision, runs, onTest, onClose }: PromoteDialogProps & { promotion: Promotion }) {
  const { version } = promotion
  // What is seen when the dialog opens is what is changed.
  const [seen] = useState(revision)
  const promote = usePromotePrompt(prompt.name, seen)
  const [label, setLabel] = useState(promotion.label)
  const [reason, setReason] = useState('')
  const stored = useUnenforced(promote, 'promotion')
  useEffect(() => setLabel(promotion.label), [promotion])
  const now = prompt.labels?.[label]
  const passed = isPromotable(prompt, runs, version)
  const run = presentRun(runs, version)
  const wrongLabel = isName(label) ? undefined : NAME_HINT
  function submit(event: FormEvent) {
    event.preventDefault()
    if (!wrongLabel) promote.mutate({ version, label, ...(reason.trim() && { reason: reason.trim() }) }, { onSuccess: onClose })
  }
  if (stored) return <StoredNote note={stored} onClose={onClose} />
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        {!passed && (
          <Banner tone="warn" title={run ? 'It failed the last run of its tests' : 'It has not passed the present tests'}
            action={<Button size="xs" variant="default" onClick={() => onTest(version)}>Run the tests</Button>}>
            No label moves to it before it has passed.
          </Banner>
        )}
        {!passed && run && <RunDetails run={run} />}
        <Autocomplete label="Label" value={label} onChange={setLabel} error={wrongLabel} data={[...new Set([PRODUCTION, ...Object.keys(prompt.labels ?? {})])]}
          description={now === version ? `It is version ${version} already` : now ? `It is version ${now} now` : 'There is no such label yet'}
          inputWrapperOrder={['label', 'input', 'description', 'error']} />
        <TextInput label="Why" placeholder="For those who read the history" maxLength={500} value={reason} autoComplete="off" data-autofocus
          onChange={({ currentTarget: { value } }) => setReason(value)} />
        <DialogEnd error={promote.error} onCancel={onClose}>
          <Button type="submit" loading={promote.isPending} disabled={!passed || now === version}>Let {label || 'it'} be version {version}</Button>
        </DialogEnd>
      </Stack>
    </form>
  )
}
