// A vertical list of steps, each with a mark that shows how it stands and a word for those who cannot see it.
import { VisuallyHidden } from '@mantine/core'
import type { ReactNode } from 'react'
import type { StepState } from '@/lib/rotation'
import { Icon } from './icons'

const SPOKEN: Record<StepState, string> = { done: 'Done', active: 'Under way', waiting: 'Not reached', failed: 'Failed' }

export function Steps({ label, steps }: { label: string; steps: { title: string; text: ReactNode; state: StepState }[] }) {
  return (
    <ol className="steps" aria-label={label}>
      {steps.map(({ title, text, state }) => (
        <li key={title} data-state={state} aria-current={state === 'active' ? 'step' : undefined}>
          <span className="mark">
            {state === 'done' && <Icon name="check" size={13} />}
            {state === 'failed' && <Icon name="close" size={13} />}
          </span>
          <div>
            <div className="step-title">
              {title}
              <VisuallyHidden>: {SPOKEN[state]}</VisuallyHidden>
            </div>
            <div className="step-text">{text}</div>
          </div>
        </li>
      ))}
    </ol>
  )
}
