// Refusals of the admin API (RFC 9457) as an error people can act on.
import type { components } from './schema'

/** A server newer than this page may know codes that this page does not. */
type Details = Partial<Omit<components['schemas']['ProblemDetails'], 'code'>> & { code?: string }

export class Problem extends Error {
  readonly status: number
  readonly code: string
  readonly title: string
  readonly hint: string | undefined
  readonly problems: NonNullable<Details['problems']>

  constructor(status: number, details: Details) {
    super(details.detail ?? details.title ?? `The server answered with status ${status}`)
    this.name = 'Problem'
    this.status = status
    this.code = details.code ?? 'unknown'
    this.title = details.title ?? 'The request failed'
    this.hint = details.hint ?? undefined
    this.problems = details.problems ?? []
  }

  static from(body: unknown, status: number): Problem {
    return new Problem(status, typeof body === 'object' && body !== null ? (body as Details) : {})
  }

  /** Any thrown value as a problem. */
  static of(error: unknown): Problem {
    if (error instanceof Problem) return error
    return new Problem(0, {
      title: 'The console failed',
      detail: error instanceof Error ? error.message : String(error),
      hint: 'Reload the page; if it happens again, report it with what you did before.',
    })
  }

  /** The problem of one field, if the server named it: `networks` matches `keys[0].networks[1]`. */
  field(name: string): string | undefined {
    const found = this.problems.find(({ path }) => path.split(/[.[\]]+/).includes(name))
    return found && [found.detail, found.hint].filter(Boolean).join('. ')
  }
}

export function unreachable(): Problem {
  return new Problem(0, {
    code: 'unreachable',
    title: 'The server cannot be reached',
    detail: 'No answer came from the control listener.',
    hint: 'Check that `credentialflow server` is running; this page goes on by itself when it is back.',
  })
}
