// How callers name a prompt: its variables as a form, and the call that they make as a command.
import { NumberInput, Select, Stack, Switch, Text, Textarea } from '@mantine/core'
import { useState } from 'react'
import type { Prompt, PromptVariable } from '@/api/prompts'
import { Command } from '@/components/Copy'
import { Card } from '@/components/Page'
import { callCommand, example, isRequired, wrong, type Typed } from '@/lib/prompts'

export function CallPrompt({ prompt: { name, variables = {} } }: { prompt: Prompt }) {
  const [values, setValues] = useState<Record<string, Typed>>(() => Object.fromEntries(Object.entries(variables).map(([one, of]) => [one, example(of)])))
  return (
    <Card title="Call it">
      <Stack gap="md">
        <Text size="sm" c="dimmed">A caller names the prompt instead of sending its text, and gets the version in production, where its application allows the prompt (<span className="mono">allow.prompts</span>). Nothing is sent from here.</Text>
        {Object.entries(variables).map(([one, of]) => (
          <Field key={one} name={one} variable={of} value={values[one]} onChange={(value) => setValues((before) => ({ ...before, [one]: value }))} />
        ))}
        <Command text={callCommand(name, undefined, values)} />
      </Stack>
    </Card>
  )
}

interface FieldProps {
  name: string
  variable: PromptVariable
  value: Typed
  onChange: (value: Typed) => void
}

function Field({ name, variable, value, onChange }: FieldProps) {
  const { type, description, values } = variable
  const shared = { label: name, description, required: isRequired(variable), withAsterisk: isRequired(variable) }
  // What is not typed yet is no mistake.
  const error = value === undefined ? undefined : wrong(variable, value)
  switch (type) {
    case 'boolean':
      return <Switch label={name} description={description} checked={value === true} onChange={({ currentTarget: { checked } }) => onChange(checked)} />
    case 'enum':
      return <Select {...shared} data={values ?? []} value={value === undefined ? null : String(value)} clearable={!isRequired(variable)} onChange={(next) => onChange(next ?? undefined)} />
    case 'number':
    case 'integer':
      return <NumberInput {...shared} error={error} allowDecimal={type === 'number'} value={typeof value === 'number' ? value : ''} onChange={(next) => onChange(typeof next === 'number' ? next : undefined)} />
    default:
      return <Textarea {...shared} error={error} autosize minRows={1} maxRows={6} value={value === undefined ? '' : String(value)} onChange={({ currentTarget: { value: next } }) => onChange(next)} />
  }
}
