// A document being edited: where its lines are, and what was found wrong on which of them.
import type { Problem } from '@/api/problem'
import type { DeclaredKind } from '@/api/types'

type Found = Problem['problems'][number]

/** The problems by line; those without a place stand under 0. */
export function byLine(problems: readonly Found[]): Map<number, Found[]> {
  const lines = new Map<number, Found[]>()
  for (const problem of problems) lines.set(problem.at.line, [...(lines.get(problem.at.line) ?? []), problem])
  return lines
}

export function lineCount(text: string): number {
  return text.split('\n').length
}

/** Where a line begins and ends in a text; lines count from 1. */
export function lineRange(text: string, line: number): [number, number] {
  const lines = text.split('\n')
  const index = Math.min(Math.max(line, 1), lines.length) - 1
  const start = lines.slice(0, index).reduce((sum, before) => sum + before.length + 1, 0)
  return [start, start + (lines[index] ?? '').length]
}

/** The name a document declares, as far as it can be seen without reading the whole of it. */
export function declaredName(text: string): string | undefined {
  return /^name:\s*["']?([a-z0-9][a-z0-9._-]*)["']?\s*(#.*)?$/m.exec(text)?.[1]
}

/** A configuration that declares this one document. */
export function asConfiguration(kind: DeclaredKind, text: string): string {
  return `${kind}:\n-\n${text.replace(/^(?=.)/gm, '  ')}\n`
}
