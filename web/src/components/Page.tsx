// The frame of a page: its heading, what it is for, and what can be done here.
import { Group, Stack, Text } from '@mantine/core'
import { useDocumentTitle } from '@mantine/hooks'
import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { Icon } from './icons'

/** The page above this one. */
export type Back =
  | { to: '/keys' | '/credentials' | '/prompts' | '/inventory'; label: string }
  | { to: '/config/$kind'; params: { kind: string }; label: string }

interface PageProps {
  title: string
  lead?: ReactNode
  back?: Back
  actions?: ReactNode
  children?: ReactNode
}

export function Page({ title, lead, back, actions, children }: PageProps) {
  useDocumentTitle(`${title} · Credentialflow`)
  return (
    <Stack className="page" gap="lg">
      <Group justify="space-between" align="flex-end" gap="md">
        <Stack gap={4} miw={0}>
          {back && (
            <Link to={back.to} params={'params' in back ? back.params : undefined} style={{ display: 'inline-flex', alignItems: 'center', gap: 6, width: 'fit-content', color: 'var(--cf-quiet)', fontSize: 13, textDecoration: 'none' }}>
              <Icon name="back" size={14} /> {back.label}
            </Link>
          )}
          <h1>{title}</h1>
          {lead && (
            <Text size="sm" c="dimmed" component="div">
              {lead}
            </Text>
          )}
        </Stack>
        {actions && <Group gap="sm">{actions}</Group>}
      </Group>
      {children}
    </Stack>
  )
}

export function Card({ title, aside, pad = true, children }: { title?: string; aside?: ReactNode; pad?: boolean; children: ReactNode }) {
  return (
    <div className="card" role={title && 'group'} aria-label={title}>
      {title && (
        <Group justify="space-between" px={20} pt={16} pb={pad ? 0 : 12} gap="sm">
          <h2>{title}</h2>
          {aside}
        </Group>
      )}
      <div className={pad ? 'card-body' : undefined}>{children}</div>
    </div>
  )
}

/** Names and values under one another. Rows without a value are left out. */
export function Facts({ rows }: { rows: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {rows.filter(([, value]) => value !== undefined && value !== null && value !== '' && value !== false).map(([name, value]) => (
        <div key={name} style={{ display: 'contents' }}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}
