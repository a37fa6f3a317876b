// The call log's filters. Every choice goes into the address at once; texts when they are complete.
import { Autocomplete, Button, Checkbox, Group, Indicator, NumberInput, Popover, Select, SimpleGrid, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { queries } from '@/api/queries'
import { FILTERS, narrowed, PAST_CHOICES, type CallSearch, type Filter } from '@/lib/filters'
import { title } from '@/lib/format'
import { OUTCOMES } from '@/lib/outcomes'
import { Icon } from './icons'

interface CallFiltersProps {
  search: CallSearch
  onChange: (next: Partial<CallSearch>) => void
}

const NONE = Object.fromEntries([...FILTERS, 'slower', 'past', 'below'].map((name) => [name, undefined])) as Partial<CallSearch>
/** Two fields beside each other on a phone. */
const HALF = 'calc(50% - 6px)'
const IN_POPOVER = ['key', 'agent', 'model', 'prompt', 'prompt_version', 'upstream', 'credential', 'status'] as const

export function CallFilters({ search, onChange }: CallFiltersProps) {
  const { data: applications } = useQuery(queries.applications())
  const hidden = IN_POPOVER.filter((name) => search[name]).length + (search.slower ? 1 : 0) + (search.below ? 1 : 0)
  return (
    <Group gap="sm" align="flex-end" role="search" aria-label="Filter requests">
      <Select label="Time" w={{ base: HALF, xs: 120 }} clearable placeholder="Any time" data={PAST_CHOICES.map((value) => ({ value, label: `Last ${value}` }))}
        value={search.past ?? null} onChange={(past) => onChange({ past: past ?? undefined })} />
      <Word name="application" search={search} onChange={onChange} suggestions={applications?.items.map(({ spec }) => spec.name)} />
      <Word name="route" search={search} onChange={onChange} />
      <Select label="Outcome" w={{ base: HALF, xs: 210 }} clearable searchable placeholder="Any outcome"
        data={OUTCOMES.map((value) => ({ value, label: title(value) }))}
        value={search.outcome ?? null} onChange={(outcome) => onChange({ outcome: outcome ?? undefined })} />
      <Indicator disabled={hidden === 0} label={hidden} size={17}>
        <Popover position="bottom-end" width={420} shadow="md" trapFocus>
          <Popover.Target>
            <Button variant="default" leftSection={<Icon name="filter" size={16} />}>More filters</Button>
          </Popover.Target>
          <Popover.Dropdown aria-label="More filters">
            <SimpleGrid cols={2} spacing="sm">
              {IN_POPOVER.map((name) => <Word key={name} name={name} search={search} onChange={onChange} wide />)}
              <NumberInput label="Slower than" suffix=" ms" min={1} allowDecimal={false} allowNegative={false} placeholder="Any duration"
                value={search.slower ?? ''} onChange={(value) => onChange({ slower: Number(value) || undefined })} />
            </SimpleGrid>
            <Checkbox mt="md" label="Also the keys that come from the key" checked={search.below === true} disabled={!search.key}
              onChange={({ currentTarget: { checked } }) => onChange({ below: checked || undefined })} />
          </Popover.Dropdown>
        </Popover>
      </Indicator>
      {narrowed(search) > 0 && (
        <Button variant="subtle" color="gray" c="var(--cf-quiet)" leftSection={<Icon name="close" size={15} />} onClick={() => onChange(NONE)}>
          Clear
        </Button>
      )}
    </Group>
  )
}

const LABELS: Record<Filter, string> = {
  application: 'Application', key: 'Key id', route: 'Route', upstream: 'Upstream',
  credential: 'Credential', model: 'Model', prompt: 'Prompt', prompt_version: "Prompt's version", agent: 'Agent', outcome: 'Outcome', status: 'Status',
}

interface WordProps extends CallFiltersProps {
  name: Exclude<Filter, 'outcome'>
  suggestions?: string[]
  wide?: boolean
}

/** One exact value; taken over on Enter, on leaving the field, or when a suggestion is chosen. */
function Word({ name, search, onChange, suggestions, wide = false }: WordProps) {
  const [text, setText] = useState(search[name] ?? '')
  useEffect(() => setText(search[name] ?? ''), [search, name])
  const take = (value: string) => value.trim() !== (search[name] ?? '') && onChange({ [name]: value.trim() || undefined })
  const field = {
    label: LABELS[name],
    placeholder: 'Any',
    value: text,
    w: wide ? undefined : { base: HALF, xs: 160 },
    onBlur: () => take(text),
    onKeyDown: ({ key }: React.KeyboardEvent) => key === 'Enter' && take(text),
  }
  return suggestions
    ? <Autocomplete {...field} data={suggestions} onChange={setText} onOptionSubmit={take} />
    : <TextInput {...field} onChange={({ currentTarget: { value } }) => setText(value)} />
}
