// A live line chart on a canvas (uPlot). Its legend is text: it shows the values under the pointer,
// the latest ones otherwise, and is what assistive technology reads.
import { useComputedColorScheme } from '@mantine/core'
import { useElementSize } from '@mantine/hooks'
import { useEffect, useMemo, useRef, useState } from 'react'
import uPlot from 'uplot'
import { lonely } from '@/lib/series'
import 'uplot/dist/uPlot.min.css'

export interface Series {
  label: string
  /** A colour variable of styles.css. */
  color: `--cf-${string}`
  values: (number | null)[]
  /** Fills the area below the line. */
  fill?: boolean
}

interface ChartProps {
  label: string
  /** Seconds since 1970, ascending. */
  times: number[]
  series: Series[]
  format: (value: number) => string
  height?: number
  /** Each value is of a day, and not of a moment. */
  daily?: boolean
}

export function Chart({ label, times, series, format, height = 190, daily = false }: ChartProps) {
  const { ref, width } = useElementSize()
  const target = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const [pointed, setPointed] = useState<number | null>(null)
  const scheme = useComputedColorScheme('light')
  const data = useMemo(() => [times, ...series.map(({ values }) => values)] as uPlot.AlignedData, [times, series])
  const latest = useRef(data)
  latest.current = data
  const shape = series.map(({ label: name, color, fill }) => `${name}|${color}|${fill ?? ''}`).join()

  useEffect(() => {
    if (!target.current || width === 0) return
    const made = new uPlot(options(width, height, shape, format, daily, setPointed), latest.current, target.current)
    plot.current = made
    return () => {
      made.destroy()
      plot.current = null
    }
    // The scheme changes the colours the canvas was drawn with.
  }, [width, height, shape, format, daily, scheme])

  useEffect(() => plot.current?.setData(data), [data])

  const index = pointed !== null && pointed < times.length ? pointed : times.length - 1
  const time = times[index]
  return (
    <figure style={{ margin: 0 }} aria-label={label}>
      <figcaption className="legend">
        {series.map(({ label: name, color, values }) => {
          const value = values[index]
          return (
            <span key={name} style={{ '--tone': `var(${color})` } as React.CSSProperties}>
              <i style={{ fontStyle: 'normal' }} className="quiet">{name}</i>{' '}
              <b className="num" style={{ fontWeight: 600 }}>{value === null || value === undefined ? '–' : format(value)}</b>
            </span>
          )
        })}
        <em className="quiet num" style={{ fontStyle: 'normal', marginLeft: 'auto' }}>
          {pointed !== null && time ? told(time, daily) : ''}
        </em>
      </figcaption>
      <div ref={ref} className="chart" style={{ height }} aria-hidden="true">
        <div ref={target} />
      </div>
    </figure>
  )
}

function told(time: number, daily: boolean): string {
  const at = new Date(time * 1000)
  return daily ? at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' }) : at.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
}

function options(width: number, height: number, shape: string, format: (value: number) => string, daily: boolean, onPoint: (index: number | null) => void): uPlot.Options {
  const style = getComputedStyle(document.documentElement)
  const resolve = (name: string) => style.getPropertyValue(name).trim()
  const axis: uPlot.Axis = {
    stroke: resolve('--cf-quiet'),
    font: '11px Inter, system-ui, sans-serif',
    grid: { stroke: resolve('--cf-line'), width: 1 },
    ticks: { show: false },
  }
  return {
    width,
    height,
    // Days are those of UTC, as their figures are.
    ...(daily && { tzDate: (time: number) => uPlot.tzDate(new Date(time * 1000), 'Etc/UTC') }),
    padding: [10, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false }, sync: { key: 'overview' } },
    hooks: { setCursor: [({ cursor }) => onPoint(cursor.idx ?? null)] },
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.12 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, size: 26, space: 70, values: daily ? '{D} {MMM}' : '{HH}:{mm}' },
      { ...axis, size: 62, space: 38, values: (_, ticks) => ticks.map(format) },
    ],
    series: [
      {},
      ...shape.split(',').map((line): uPlot.Series => {
        const [label = '', color = '', fill] = line.split('|')
        const stroke = resolve(color)
        // A line needs two neighbours; a value without any is drawn as a point.
        const points: uPlot.Series.Points = { show: false, filter: (plot, index) => lonely(plot.data[index] ?? []), size: 5, width: 0, fill: stroke }
        return { label, stroke, width: 1.75, spanGaps: false, points, fill: fill ? `color-mix(in srgb, ${stroke} 14%, transparent)` : undefined }
      }),
    ],
  }
}
