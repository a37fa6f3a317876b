// Finds by name in a list; the text stands in the address.
import { TextInput } from '@mantine/core'
import { useDebouncedCallback } from '@mantine/hooks'
import { useState } from 'react'
import { Icon } from './icons'

export function SearchBox({ value, label, onChange }: { value: string; label: string; onChange: (q: string) => void }) {
  const [text, setText] = useState(value)
  const pass = useDebouncedCallback(onChange, 250)
  return (
    <TextInput type="search" aria-label={label} placeholder={label} value={text} w={{ base: '100%', xs: 260 }} leftSection={<Icon name="search" size={16} />}
      onChange={({ currentTarget: { value: next } }) => {
        setText(next)
        pass(next.trim())
      }} />
  )
}
