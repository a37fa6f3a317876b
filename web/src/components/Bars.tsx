// A ranking: names with a bar behind each, as long as its share of the first.
import { Link } from '@tanstack/react-router'
import type { StatsTop } from '@/api/types'
import { compact, percent, usd } from '@/lib/format'

interface BarsProps {
  entries: StatsTop[]
  /** The call log's filter a name opens. */
  filter: 'route' | 'application' | 'model'
  showSpend?: boolean
}

export function Bars({ entries, filter, showSpend = false }: BarsProps) {
  const most = Math.max(1, ...entries.map(({ requests }) => requests))
  return (
    <ol className="bars">
      {entries.map(({ name, requests, errors, usd: spent }) => (
        <li key={name}>
          <Link to="/calls" search={{ [filter]: name }} style={{ '--share': `${(requests / most) * 100}%` } as React.CSSProperties}>
            <span className="truncate">{name}</span>
            <span className="num nowrap">
              {errors > 0 && <span style={{ color: 'var(--cf-bad)', marginRight: 12 }}>{percent(errors / requests)} errors</span>}
              {showSpend && Number(spent) > 0 && <span style={{ marginRight: 12 }}>{usd(spent)}</span>}
              <b style={{ fontWeight: 600 }}>{compact(requests)}</b>
            </span>
          </Link>
        </li>
      ))}
    </ol>
  )
}
