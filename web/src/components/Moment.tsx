// A point in time as "3 minutes ago", with the exact time one hover or focus away.
import { Tooltip } from '@mantine/core'
import { useEffect, useState } from 'react'
import { dateTime, relative } from '@/lib/format'

/** The present, renewed so that relative times stay true. */
export function useNow(everyMs = 5000): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return now
}

export function Moment({ time, never = 'Never' }: { time: string | null | undefined; never?: string }) {
  const now = useNow()
  if (!time) return <span className="quiet">{never}</span>
  return (
    <Tooltip label={dateTime(time)}>
      <time dateTime={time} className="nowrap">
        {relative(time, now)}
      </time>
    </Tooltip>
  )
}
