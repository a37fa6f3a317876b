// A state: a coloured dot and a word, so that colour never carries the meaning alone.
import type { ReactNode } from 'react'
import type { Tone } from '@/lib/state'

export function Pill({ tone, live = false, children }: { tone: Tone; live?: boolean; children: ReactNode }) {
  return (
    <span className={live ? 'pill pill-live' : 'pill'} data-tone={tone}>
      {children}
    </span>
  )
}

/** A small label on a tinted ground. */
export function Tag({ tone = 'quiet', children }: { tone?: Tone; children: ReactNode }) {
  return (
    <span className="tag" data-tone={tone}>
      {children}
    </span>
  )
}
