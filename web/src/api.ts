// Commands and lists over HTTP (/api/v1); errors arrive as one sentence each.
import type { Alarm, Version } from './live/protocol'
import type { Site } from './live/store'

/** The server answered, and said no; or could not be reached at all (status 0). */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly problem: Record<string, unknown>,
  ) {
    super(message)
  }
}

export interface Change {
  version: number
  at: number
  kind: string
  who: string
  text: string
}

export interface AlarmDetail extends Alarm {
  history: Change[]
}

export interface Source {
  id: string
  kind: string
  state: 'connecting' | 'up' | 'down' | 'refused' | 'stopped'
  since: string
  last_error: string | null
  last_reading_at: string | null
  skew_s: number | null
  counters: Record<string, number>
}

export interface Quarantined {
  id: number
  received_at: string
  source: string | null
  characteristic?: string | null
  reason: string
  payload: string
}

export interface Gap {
  id: number
  source: string | null
  characteristic: string | null
  start: string
  end: string
  missed: number | null
  reason: string
}

export interface VersionRow {
  number: number
  stream: string | null
  state: Version['state']
  valid_from: string | null
  limits: { center: number; sigma?: number | null; lcl?: number; ucl?: number; method: string; source?: string } | null
  location: { center: number; lcl: number | null; ucl: number | null; sigma: number | null } | null
  author: string
  reason: string
  created_at: string
  approved_by: string | null
  approved_at: string | null
}

export interface Verdict {
  verdict: 'ok' | 'alarm' | 'pending' | 'not_judged'
  violations?: (string | { rule: string })[]
  alarms?: { id: number; sentence?: string }[]
}

export interface Posted {
  accepted: number
  duplicates: number
  rejected: { index: number; reason: string }[]
  durable: string
  verdicts?: Verdict[]
}

/** What became of a test message on one channel. */
export interface Tested {
  channel: string
  ok: boolean
  detail: string
}

export interface Page<T> {
  items: T[]
  next: string | null
}

const BASE = '/api/v1'
const WAIT_MS = 15_000
/** A test message is answered when the slowest channel has been, whose time-out is the plant's. */
const TEST_WAIT_MS = 60_000

async function ask<T>(method: string, path: string, body?: object, key?: string, wait = WAIT_MS): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' }
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  if (key !== undefined) headers['Idempotency-Key'] = key
  let response: Response
  try {
    const content = body === undefined ? {} : { body: JSON.stringify(body) }
    response = await fetch(BASE + path, { method, headers, ...content, signal: AbortSignal.timeout(wait) })
  } catch {
    throw new Refused(0, 'The server does not answer.', {})
  }
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`)
  const text = await response.text()
  const answer = (text && response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : {}) as T
  if (!response.ok) {
    const problem = answer as Record<string, unknown>
    const said = (problem['detail'] ?? problem['title'] ?? `The server answered ${response.status}.`) as string
    throw new Refused(response.status, said, problem)
  }
  return answer
}

/** A key that makes a repeat of the same command harmless. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

type Stamped = string | number | null

function millis(stamp: Stamped): number | null {
  return typeof stamp === 'string' ? Date.parse(stamp) : stamp
}

/** An alarm as the API writes it (ISO stamps), with times as the socket has them. */
export function alarmOf<T extends object>(raw: T): T & Alarm {
  const row = raw as Record<string, Stamped> & { last: { time: Stamped } }
  const times = Object.fromEntries(
    ['opened', 'seen_at', 'returned_at', 'closed_at', 'shelved_until'].map((name) => [
      name,
      millis(row[name] ?? null),
    ]),
  )
  return { ...raw, ...times, last: { ...row.last, time: millis(row.last.time) } } as unknown as T & Alarm
}

export const api = {
  site: () => ask<Site>('GET', '/site'),
  sources: () => ask<Page<Source>>('GET', '/sources'),
  quarantine: () => ask<Page<Quarantined>>('GET', '/quarantine?limit=50'),
  gaps: () => ask<Page<Gap>>('GET', '/gaps?limit=50'),
  closedAlarms: async () => {
    const page = await ask<Page<object>>('GET', '/alarms?state=closed&limit=50')
    return page.items.map(alarmOf)
  },
  alarm: async (id: number) => {
    const row = alarmOf(await ask<AlarmDetail>('GET', `/alarms/${id}`))
    return { ...row, history: row.history.map((one) => ({ ...one, at: millis(one.at)! })) }
  },
  act: async (id: number, command: string, body: object, key: string) =>
    alarmOf(await ask<Alarm>('POST', `/alarms/${id}/${command}`, body, key)),
  post: (readings: object[], key: string) =>
    ask<Posted>('POST', '/readings?verdicts=true', { readings }, key),
  testAnnouncements: (who: string) =>
    ask<Page<Tested>>('POST', '/announce/test', { who }, undefined, TEST_WAIT_MS),
  versions: (id: string) => ask<Page<VersionRow>>('GET', `/characteristics/${encodeURIComponent(id)}/versions`),
  limits: (id: string, path: string, body: object, key: string) =>
    ask<VersionRow>('POST', `/characteristics/${encodeURIComponent(id)}/limits${path}`, body, key),
}
