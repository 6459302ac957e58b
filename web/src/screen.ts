// The page's one store, its one socket, and what this station keeps for itself.
import { signal } from '@preact/signals'
import { api } from './api'
import { Socket } from './live/socket'
import { Store } from './live/store'

export const store: Store = new Store(undefined, (c) => socket.windowOf(c))
const address = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/live`
// A refused socket says nothing; a request does, and goes to the sign-in form where the session is over.
export const socket = new Socket(store, address, () => void api.site().catch(() => undefined))

const BADGE = 'andon.badge'
const SHIFT_MS = 12 * 3_600_000

interface Badge {
  name: string
  since: number
}

/** Who stands at this station: kept for the shift, then asked again. */
export const badge = signal(readBadge())

function readBadge(): string {
  try {
    const kept = JSON.parse(localStorage.getItem(BADGE) ?? 'null') as Badge | null
    return kept && Date.now() - kept.since < SHIFT_MS ? kept.name : ''
  } catch {
    return ''
  }
}

export function setBadge(name: string): void {
  badge.value = name
  try {
    localStorage.setItem(BADGE, JSON.stringify({ name, since: Date.now() } satisfies Badge))
  } catch {
    // A station without storage asks again after a reload.
  }
}

/** Ask for the site's name, zone and lists until they are there. */
export async function loadSite(): Promise<void> {
  for (let wait = 500; ; wait = Math.min(wait * 2, 10_000)) {
    try {
      store.site.value = { ...store.site.value, ...(await api.site()) }
      return
    } catch {
      await new Promise((done) => setTimeout(done, wait))
    }
  }
}
