// The console's icons: outlines on a 24-unit grid, drawn with the current text colour, hidden from
// assistive technology because every use has words beside it or a label on its button.
const PATHS = {
  alert: 'M12 9v4m0 3.5v.01M10.3 4.3 2.6 17.5A2 2 0 0 0 4.3 20.5h15.4a2 2 0 0 0 1.7-3L13.7 4.3a2 2 0 0 0-3.4 0Z',
  back: 'M19 12H5m6-6-6 6 6 6',
  calls: 'M4 6h16M4 12h16M4 18h10',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  close: 'M6 6l12 12M18 6 6 18',
  config: 'M4 7h9m5 0h2M4 17h2m5 0h9M15.5 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM8.5 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z',
  copy: 'M9 9h9a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2ZM4 15V5a2 2 0 0 1 2-2h9',
  credential: 'M12 3 5 6v5c0 4.5 3 8.3 7 10 4-1.7 7-5.5 7-10V6l-7-3Zm0 7.5v4m0-6v.01',
  filter: 'M4 6h16M7 12h10M10 18h4',
  inventory: 'M4 5h3v3H4V5Zm0 5.5h3v3H4v-3ZM4 16h3v3H4v-3ZM10.5 6.5H20M10.5 12H20m-9.5 5.5H20',
  key: 'M15.5 4a4.5 4.5 0 1 1-3.9 6.7L4 18.3V21h3v-2h2v-2h2l1.9-1.9M16.5 7.5v.01',
  lock: 'M7 11V8a5 5 0 0 1 10 0v3M6 11h12a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1v-8a1 1 0 0 1 1-1Z',
  moon: 'M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5Z',
  next: 'm9 6 6 6-6 6',
  out: 'M14 8V6a2 2 0 0 0-2-2H6a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h6a2 2 0 0 0 2-2v-2M9 12h12m-3-3 3 3-3 3',
  overview: 'M4 19V11m5.3 8V5m5.4 14v-9m5.3 9V8',
  plus: 'M12 5v14M5 12h14',
  previous: 'm15 6-6 6 6 6',
  prompt: 'M4 5h16v11H9l-4 4v-4H4V5Zm4 4h8m-8 3.5h5',
  rotate: 'M20 11A8 8 0 0 0 5.5 7.5L3.5 9.5M3.5 5v4.5H8M4 13a8 8 0 0 0 14.5 3.5l2-2m0 4.5v-4.5H16',
  search: 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM20 20l-4.8-4.8',
  spend: 'M12 4v16m4-13.2C15.2 5.7 13.8 5.5 12 5.5c-2.5 0-4 1.2-4 3 0 4.3 8.3 2.2 8.3 6.8 0 2-1.7 3.2-4.3 3.2-2 0-3.6-.5-4.5-1.8',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 3v1.5m0 15V21M3 12h1.5m15 0H21M5.6 5.6l1.1 1.1m10.6 10.6 1.1 1.1m0-12.8-1.1 1.1M6.7 17.3l-1.1 1.1',
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth={1.8}
      strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  )
}

/** A credential passing through: the product's mark. */
export function Mark({ size = 26 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" fill="#0d6e64" />
      <path d="M6 16h5.6M20.4 16H26" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" />
      <circle cx="16" cy="16" r="4.4" fill="none" stroke="#fff" strokeWidth="2.6" />
    </svg>
  )
}
