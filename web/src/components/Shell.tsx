// The frame around every page: navigation, appearance, sign-out, and warnings that concern all pages.
import { AppShell, Burger, Group, Stack, Text, useComputedColorScheme, useMantineColorScheme } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, Outlet, useNavigate, useRouterState } from '@tanstack/react-router'
import { useEffect, useRef } from 'react'
import { api } from '@/api/client'
import { Problem } from '@/api/problem'
import { queries } from '@/api/queries'
import { count } from '@/lib/format'
import { Banner } from './Feedback'
import { Icon, Mark, type IconName } from './icons'
import { SealBanner } from './SealBanner'

const PAGES: { to: '/' | '/calls' | '/spend' | '/credentials' | '/keys' | '/prompts' | '/inventory' | '/config'; icon: IconName; label: string }[] = [
  { to: '/', icon: 'overview', label: 'Overview' },
  { to: '/calls', icon: 'calls', label: 'Call log' },
  { to: '/spend', icon: 'spend', label: 'Spend' },
  { to: '/credentials', icon: 'credential', label: 'Credentials' },
  { to: '/keys', icon: 'key', label: 'Keys' },
  { to: '/prompts', icon: 'prompt', label: 'Prompts' },
  { to: '/inventory', icon: 'inventory', label: 'Inventory' },
  { to: '/config', icon: 'config', label: 'Configuration' },
]

export function Shell() {
  const [opened, { toggle, close }] = useDisclosure()
  const path = useRouterState({ select: (state) => state.location.pathname })
  const main = useRef<HTMLElement>(null)
  useEffect(close, [path, close])
  return (
    <AppShell header={{ height: 54, collapsed: false }} navbar={{ width: 226, breakpoint: 'sm', collapsed: { mobile: !opened } }} padding="md" layout="alt">
      <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus() }}>
        Skip to the page
      </a>
      <AppShell.Header hiddenFrom="sm" bg="var(--cf-page)">
        <Group h="100%" px="md" justify="space-between">
          <Link to="/" className="brand"><Mark /> Credentialflow</Link>
          <Burger opened={opened} onClick={toggle} size="sm" aria-label={opened ? 'Close the navigation' : 'Open the navigation'} />
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="sm" bg="var(--cf-page)" aria-label="Pages">
        <Group justify="space-between" px={10} py={8} mb="sm">
          <Link to="/" className="brand"><Mark /> Credentialflow</Link>
          <Burger hiddenFrom="sm" opened={opened} onClick={toggle} size="sm" aria-label="Close the navigation" />
        </Group>
        <div className="nav">
          {PAGES.map(({ to, icon, label }) => (
            <Link key={to} to={to} activeOptions={{ exact: to === '/', includeSearch: false }}>
              <Icon name={icon} /> {label}
            </Link>
          ))}
        </div>
        <Foot />
      </AppShell.Navbar>
      <AppShell.Main id="main" ref={main} tabIndex={-1} style={{ outline: 'none' }} pt={{ base: 'calc(54px + var(--mantine-spacing-md))', sm: 'lg' }}>
        <div className="warnings"><SealBanner /><Warnings /></div>
        <Outlet />
      </AppShell.Main>
    </AppShell>
  )
}

function Foot() {
  const { setColorScheme } = useMantineColorScheme()
  const dark = useComputedColorScheme('light') === 'dark'
  const client = useQueryClient()
  const navigate = useNavigate()
  const { data: status } = useQuery(queries.status())
  async function signOut() {
    await api.DELETE('/api/v1/session')
    client.clear()
    await navigate({ to: '/sign-in' })
  }
  return (
    <Stack gap="xs" mt="auto">
      <div className="nav">
        <button type="button" onClick={() => setColorScheme(dark ? 'light' : 'dark')}>
          <Icon name={dark ? 'sun' : 'moon'} /> {dark ? 'Light appearance' : 'Dark appearance'}
        </button>
        <button type="button" onClick={signOut}>
          <Icon name="out" /> Sign out
        </button>
      </div>
      {status && (
        <Text size="xs" c="dimmed" px={11}>
          Version {status.version}
        </Text>
      )}
    </Stack>
  )
}

/** What makes every page less true or less useful, said on every page. */
function Warnings() {
  const { data: status, error } = useQuery(queries.status())
  const dropped = Math.max(status?.dataplane.records_dropped ?? 0, status?.call_log.dropped ?? 0)
  const away = error && Problem.of(error).status === 0
  const stuck = status && status.call_log.write_errors > 0 && status.call_log.waiting > 0
  if (!away && !dropped && !stuck) return null
  return (
    <>
      {away && (
        <Banner tone="bad" title="The server cannot be reached">
          What you see may be out of date. This page goes on by itself when the server is back.
        </Banner>
      )}
      {stuck && (
        <Banner tone="warn" title="The call log cannot be written">
          {count(status.call_log.waiting)} records wait and are tried again. Check that the data directory is writable and has space.
        </Banner>
      )}
      {dropped > 0 && (
        <Banner tone="warn" title={`${count(dropped)} call records were dropped since the start`}>
          Requests were served, but the call log is missing them: it could not be written fast enough. Check the disk's speed and free space.
        </Banner>
      )}
    </>
  )
}
