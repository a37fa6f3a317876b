// A rotation as the list of steps a person follows.
import type { RotationStep, RotationView } from '@/api/types'

export type StepState = 'done' | 'active' | 'waiting' | 'failed'
export interface Step {
  step: RotationStep
  title: string
  text: string
  state: StepState
}

const STEPS: { step: RotationStep; title: string; text: string }[] = [
  { step: 'generate', title: 'Make the new version', text: 'Received or generated, then sealed' },
  { step: 'verify', title: 'Verify', text: 'Tried at its target before anything depends on it' },
  { step: 'promote', title: 'Promote', text: 'Becomes current on every worker' },
  { step: 'watch', title: 'Watch', text: 'Refusals of the new version are watched' },
  { step: 'drain', title: 'Drain the old version', text: 'Until no request uses it any more' },
  { step: 'destroy', title: 'Destroy the old version', text: 'Its sealed bytes are removed' },
]

/** The steps with where each stands; one that was taken back is told in a single step. */
export function rotationSteps({ step }: Pick<RotationView, 'step'>, verified: boolean): Step[] {
  if (step === 'rolled_back') {
    return [
      { step, title: 'Taken back', text: 'The old version is current again; the new one is never used', state: 'failed' },
    ]
  }
  const reached = step === 'done' ? STEPS.length : STEPS.findIndex((known) => known.step === step)
  return STEPS.map((known, index) => ({
    ...known,
    ...(known.step === 'verify' && !verified ? { text: 'Nothing is declared to try it with: it is used untried' } : {}),
    state: index < reached ? 'done' : index === reached ? 'active' : 'waiting',
  }))
}
