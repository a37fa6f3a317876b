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

/** Steps that only some rotations have, and before which other step they stand. */
const SOMETIMES: { step: RotationStep; title: string; text: string; before: RotationStep }[] = [
  { step: 'approve', title: 'Approval', text: 'Waits until somebody approves it', before: 'generate' },
  { step: 'deliver', title: 'Next value', text: 'Waits until it is delivered', before: 'generate' },
  { step: 'canary', title: 'Try with a share', text: 'A share of the traffic uses the new version', before: 'promote' },
]

/** The steps with where each stands; one that was taken back is told in a single step. */
export function rotationSteps({ step }: Pick<RotationView, 'step'>, verified: boolean): Step[] {
  if (step === 'rolled_back') {
    return [
      { step, title: 'Taken back', text: 'The old version is current again; the new one is never used', state: 'failed' },
    ]
  }
  const now = SOMETIMES.find((known) => known.step === step)
  const steps = now ? STEPS.flatMap((known) => (known.step === now.before ? [now, known] : [known])) : STEPS
  const reached = step === 'done' ? steps.length : steps.findIndex((known) => known.step === step)
  return steps.map((known, index) => ({
    step: known.step,
    title: known.title,
    text: known.text,
    ...(known.step === 'verify' && !verified ? { text: 'Nothing is declared to try it with: it is used untried' } : {}),
    state: index < reached ? 'done' : index === reached ? 'active' : 'waiting',
  }))
}
