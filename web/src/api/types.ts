// Short names for the shapes the pages speak about.
import type { components, paths } from './schema'

type Schemas = components['schemas']
export type Act = Schemas['Act']
export type CallRow = Schemas['CallView']
export type CredentialItem = Schemas['CredentialItem']
export type DeclaredKind = Schemas['Kind']
export type DelegatedKey = Schemas['DelegatedKeyView']
export type Engine = Schemas['Credential']['engine']
export type IssuedKey = Schemas['IssuedKey']
export type Key = Schemas['Key']
export type KeyItem = Schemas['KeyItem']
/** The kinds that hold no secret. */
export type PlainKind = Exclude<DeclaredKind, 'keys' | 'credentials'>
export type RotationStep = Schemas['RotationStep']
export type RotationView = Schemas['RotationView']
export type SealView = Schemas['SealView']
export type Stats = Schemas['Stats']
export type StatsPoint = Schemas['StatsPoint']
export type StatsTop = Schemas['StatsTop']
export type VersionState = Schemas['VersionState']
export type VersionView = Schemas['VersionView']

export type CallQuery = NonNullable<paths['/api/v1/calls']['get']['parameters']['query']>
export type NewCredential = paths['/api/v1/credentials']['post']['requestBody']['content']['application/json']
export type NewKey = paths['/api/v1/keys']['post']['requestBody']['content']['application/json']
