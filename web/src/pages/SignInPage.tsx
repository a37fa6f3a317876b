// Sign-in with the administrator's token.
import { Button, PasswordInput, Stack, Text } from '@mantine/core'
import { useDocumentTitle } from '@mantine/hooks'
import { useMutation } from '@tanstack/react-query'
import { useRouter, useSearch } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { api, ask } from '@/api/client'
import { queryClient } from '@/api/queries'
import { Failure } from '@/components/Feedback'
import { Mark } from '@/components/icons'
import { SealBanner } from '@/components/SealBanner'
import { Problem } from '@/api/problem'

export function SignInPage() {
  useDocumentTitle('Sign in · Credentialflow')
  const [token, setToken] = useState('')
  const router = useRouter()
  const { to } = useSearch({ from: '/sign-in' })
  const signIn = useMutation({
    mutationFn: () => ask(api.POST('/api/v1/session', { body: { token: token.trim() } })),
    onSuccess: (session) => {
      queryClient.setQueryData(['session'], session)
      router.history.push(to ?? '/')
    },
  })
  const refused = signIn.error && Problem.of(signIn.error).status === 401

  function submit(event: FormEvent) {
    event.preventDefault()
    signIn.mutate()
  }

  return (
    <main style={{ minHeight: '100dvh', display: 'grid', placeItems: 'center', padding: 20 }}>
      <Stack gap="xl" w="100%" maw={400}>
        <Stack gap="sm" align="center" ta="center">
          <Mark size={52} />
          <h1 style={{ margin: 0, fontSize: 25, fontWeight: 640, letterSpacing: '-0.025em' }}>Credentialflow</h1>
          <Text c="dimmed" size="sm">One credential in, the real one injected, every use recorded.</Text>
        </Stack>
        <SealBanner />
        <form className="card card-body" onSubmit={submit}>
          <Stack gap="md">
            <PasswordInput
              label="Administrator's token" name="token" value={token} autoFocus required withAsterisk={false} autoComplete="current-password"
              description="Printed once by credentialflow init"
              visibilityToggleButtonProps={{ 'aria-label': 'Show or hide the token' }}
              onChange={(event) => setToken(event.currentTarget.value)}
              error={refused ? 'This token is not accepted. Check that it was copied whole.' : undefined}
            />
            {signIn.error && !refused && <Failure error={signIn.error} />}
            <Button type="submit" fullWidth loading={signIn.isPending} disabled={!token.trim()}>Sign in</Button>
          </Stack>
        </form>
      </Stack>
    </main>
  )
}
