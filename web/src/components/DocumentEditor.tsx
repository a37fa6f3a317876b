// A YAML document with numbered lines; what the server found wrong stands beside the line it is about.
import { Stack, Text } from '@mantine/core'
import { useId, useRef, type KeyboardEvent } from 'react'
import type { Problem } from '@/api/problem'
import { byLine, lineCount, lineRange } from '@/lib/document'
import { sentence } from '@/lib/format'

interface DocumentEditorProps {
  label: string
  text: string
  problems: Problem['problems']
  readOnly?: boolean
  onChange: (text: string) => void
  onSave: () => void
}

export function DocumentEditor({ label, text, problems, readOnly, onChange, onSave }: DocumentEditorProps) {
  const area = useRef<HTMLTextAreaElement>(null)
  const gutter = useRef<HTMLDivElement>(null)
  const found = byLine(problems)
  const id = useId()
  function show(line: number) {
    area.current?.focus()
    area.current?.setSelectionRange(...lineRange(text, line))
  }
  function keys(event: KeyboardEvent) {
    if (event.key === 's' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault()
      onSave()
    }
  }
  return (
    <Stack gap="sm">
      <div className="editor" data-wrong={problems.length > 0 || undefined}>
        <div className="editor-gutter" aria-hidden="true" ref={gutter}>
          {Array.from({ length: lineCount(text) }, (_, index) => (
            <div key={index} data-wrong={found.has(index + 1) || undefined}>{index + 1}</div>
          ))}
        </div>
        <textarea ref={area} aria-label={label} aria-invalid={problems.length > 0} aria-describedby={problems.length > 0 ? id : undefined}
          readOnly={readOnly} value={text} rows={Math.min(Math.max(lineCount(text) + 1, 12), 32)} spellCheck={false} autoComplete="off" autoCapitalize="off" wrap="off"
          onKeyDown={keys} onChange={({ currentTarget: { value } }) => onChange(value)}
          onScroll={({ currentTarget: { scrollTop } }) => { if (gutter.current) gutter.current.scrollTop = scrollTop }} />
      </div>
      {problems.length > 0 && (
        <ul id={id} className="editor-problems" aria-label="Problems">
          {[...found].map(([line, here]) => here.map(({ path, code, detail, hint }) => (
            <li key={`${line} ${path} ${code} ${detail}`}>
              {line > 0 && <button type="button" onClick={() => show(line)}>Line {line}</button>}
              <Text size="sm" component="span">
                {path && <><span className="mono">{path}</span>: </>}{sentence(detail)}{hint && <span className="quiet"> {sentence(hint)}</span>}
              </Text>
            </li>
          )))}
        </ul>
      )}
    </Stack>
  )
}
