// The messages of andon.v1 (docs/protocol.md).

export interface Spec {
  lower: number | null
  target: number | null
  upper: number | null
}

export interface Line {
  cl: number
  lcl: number | null
  ucl: number | null
  s: number | null
}

export interface Version {
  number: number
  state: 'proposed' | 'rejected' | 'collecting' | 'trial' | 'active' | 'superseded'
  valid_from: number | null
  chart: string
  n: number
  rules: string[] | null
  spec: Spec | null
  method: string | null
  source: string | null
  center: number | null
  sigma: number | null
  x: Line | null
  d: Line | null
  author: string
  reason: string
  created_at: number
  approved_by: string | null
  approved_at: number | null
}

export interface Characteristic {
  id: string
  name: string
  unit: string
  decimals: number | null
  station: string | null
  part: string
  class: string
  chart: string
  n: number
  expect: number | null
  plausible: [number | null, number | null]
  causes: string[]
  actions: string[]
  streams: { c: string; tags: Record<string, string> }[]
}

export type AlarmState =
  | 'unack'
  | 'ack'
  | 'rtn_unack'
  | 'latched'
  | 'shelved'
  | 'suppressed'
  | 'out_of_service'
  | 'withdrawn'
  | 'closed'

// Times are epoch milliseconds on the socket; api.ts turns the API's ISO stamps into the same.
export interface Alarm {
  id: number
  characteristic: string
  stream: string
  class: 'spec' | 'control' | 'silent' | 'missed'
  state: AlarmState
  priority: number
  active: boolean
  opened: number
  last: { time: number; key: number | string }
  count: number
  rules: string[]
  sentence: string
  version: number
  needs_cause: boolean
  seen_by: string | null
  seen_at: number | null
  cause: string | null
  action: string | null
  note: string | null
  caused_by: string | null
  returned_at: number | null
  closed_at: number | null
  shelved_until: number | null
}

/** [lcl, ucl, s, d_cl, d_lcl, d_ucl] of a point whose n is not its version's. */
export type OwnLines = (number | null)[]

export type Row = [
  c: string,
  seq: number,
  ts: number,
  y: number,
  f: number,
  x: number | string,
  d: number | null,
  n: number,
  v: number,
  g: number,
  l?: OwnLines | null,
]

export interface Snap {
  t: 'snap'
  c: string
  seq: number
  partial: boolean
  limits_version: number | null
  versions: Record<string, Version>
  x: (number | string)[]
  ts: number[]
  y: number[]
  d: (number | null)[]
  n: number[]
  v: number[]
  f: number[]
  g: number[]
  l: Record<string, OwnLines>
}

export interface Update {
  t: 'upd'
  rev: 'inserted' | 'corrected' | 'withdrawn'
  c: string
  seq: number
  ts: number
  y: number
  f: number
  x: number | string
  d: number | null
  n: number
  v: number
  g: number
  l?: OwnLines
}

export type Message =
  | {
      t: 'welcome'
      v: number
      epoch: string
      now: number
      build: string
      max_window: number
      alarm_seq: number
      chars: Characteristic[]
    }
  | Snap
  | { t: 'd'; now: number; p: Row[] }
  | Update
  | { t: 'ready'; now: number }
  | { t: 'hb'; now: number }
  | {
      t: 'lim'
      c: string
      limits_version: number | null
      versions: Record<string, Version>
    }
  | { t: 'char'; char: Characteristic | { id: string; retired: true } }
  | { t: 'alarms'; seq: number; alarms: Alarm[] }
  | { t: 'al'; seq: number; alarm: Alarm }
  | { t: 'err'; code: string; c: string | null; detail?: string }

// Bits of g.
export const CUT = 1
export const PARTIAL = 2
export const LATE = 4
export const EXCLUDED = 8
export const RETROSPECTIVE = 16
export const UNJUDGED = 32
export const TRIAL = 64
export const ABOVE_SPEC = 128
export const BELOW_SPEC = 256
