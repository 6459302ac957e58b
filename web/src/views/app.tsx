// The frame of every screen: header, banner, the screen that the path names.
import { useComputed, useSignal, useSignalEffect } from '@preact/signals'
import { age, time, zone } from '../format'
import { lineOf } from '../live/store'
import { decoded, path } from '../router'
import { badge, store } from '../screen'
import { AlarmPage } from './alarm'
import { Alarms } from './alarms'
import { Detail } from './detail'
import { Entry } from './entry'
import { Limits } from './limits'
import { BadgeDialog, Clock, NotFound, Shape, who } from './parts'
import { Sources } from './sources'
import { lineTitle, Plant, Wall } from './wall'

export function App() {
  return (
    <>
      <Header />
      <Banner />
      <NewBuild />
      <Screen />
      <BadgeDialog />
      <Title />
    </>
  )
}

function Screen() {
  const [, first = '', ...rest] = path.value.split('/')
  const second = decoded(rest.join('/'))
  if (first === '') return <Plant />
  if (first === 'wall' && second) return <Wall line={second} key={second} />
  if (first === 'c' && second) return <Detail name={second} key={second} />
  if (first === 'alarms' && second) return <AlarmPage id={Number(second)} key={second} />
  if (first === 'alarms') return <Alarms />
  if (first === 'entry') return <Entry name={second} />
  if (first === 'sources') return <Sources />
  if (first === 'limits' && second) return <Limits name={second} key={second} />
  return <NotFound what={`Nothing is at ${path.value}.`} />
}

function Header() {
  const counts = useComputed(() => [1, 2, 3, 4].map((p) => store.unseen.value.filter((one) => one.priority === p).length))
  const place = useComputed(() => {
    const [, first, second] = path.value.split('/')
    if (first === 'wall' && second) return lineTitle(decoded(second))
    if (first === 'c' && second) {
      const stream = store.allStreams.value.find((one) => one.c === decoded(second))
      if (stream) return lineTitle(lineOf(stream))
    }
    return store.site.value.name || 'Andon'
  })
  return (
    <header class="top">
      <a class="brand" href="/" aria-label="Andon, whole plant">
        <svg viewBox="0 0 32 32" width="34" height="34" aria-hidden="true">
          <rect width="32" height="32" rx="6" />
          <path class="limits" d="M4 9h24M4 23h24" />
          <path class="trace" d="M4 18l5-3 4 4 5-6 4 2" />
          <path class="mark" d="M25 3.4l4 4-4 4-4-4z" />
        </svg>
        <span class="place">{place}</span>
      </a>
      <nav aria-label="Screens">
        <Tab to="/" label="Wall" at={['', 'wall', 'c', 'limits']} />
        <Tab to="/alarms" label="Alarms" at={['alarms']}>
          {store.unseen.value.length > 0 && <span class="pill">{store.unseen.value.length}</span>}
        </Tab>
        <Tab to="/entry" label="Entry" at={['entry']} />
        <Tab to="/sources" label="Sources" at={['sources']} />
      </nav>
      <a class="unack" href="/alarms" aria-label={`${store.unseen.value.length} alarms not seen`}>
        {counts.value.map((count, i) =>
          count ? (
            <span class={`count p${i + 1}`} key={i}>
              <Shape priority={i + 1} />
              {count}
            </span>
          ) : null,
        )}
        {store.unseen.value.length === 0 && <span class="quiet">no new alarms</span>}
      </a>
      <button class="who" onClick={() => void who(true)} title="Who stands at this station">
        {badge.value || 'Sign on'}
      </button>
      <LiveState />
    </header>
  )
}

function Tab({ to, label, at, children }: { to: string; label: string; at: string[]; children?: preact.ComponentChildren }) {
  const current = at.includes(path.value.split('/')[1] ?? '')
  return (
    <a href={to} aria-current={current ? 'page' : undefined}>
      {label}
      {children}
    </a>
  )
}

function LiveState() {
  const state = store.connection.value
  const zoneName = useComputed(() => (store.told.value ? zone(store.told.value, store.site.value) : ''))
  return (
    <div class={`live is-${state}`} role="status" aria-label={state === 'live' ? 'Live' : 'Not live'}>
      <span class="state">{state === 'live' ? 'Live' : state === 'stale' ? 'NOT LIVE' : 'Connecting'}</span>
      <Clock /> <span class="zone">{zoneName}</span>
    </div>
  )
}

/** Goes away when fresh data has arrived, not when the socket opens. */
function Banner() {
  const text = useComputed(() => {
    store.tick.value
    if (store.connection.value !== 'stale') return null
    const site = store.site.value
    const silent = store.oldFor()
    const since = store.freshUntil()
    const last = time(since, site, store.now())
    const help = silent > 60_000 ? ' Call IT: this screen cannot reach the Andon server.' : ' Trying again.'
    return `NO DATA FOR ${age(silent)}. Values are OLD (last ${last} ${zone(since, site)}).${help}`
  })
  if (text.value === null) return null
  return (
    <div class="banner" role="alert">
      <Shape priority={4} /> {text}
    </div>
  )
}

function NewBuild() {
  const left = useSignal(10)
  const wall = ['', 'wall'].includes(path.value.split('/')[1] ?? '')
  useSignalEffect(() => {
    if (!store.newBuild.value || !wall) return
    const timer = setInterval(() => {
      left.value -= 1
      if (left.value <= 0) location.reload()
    }, 1000)
    return () => clearInterval(timer)
  })
  if (!store.newBuild.value) return null
  return (
    <div class="notice" role="status">
      {wall ? `New version: reloads in ${left.value} s.` : 'A new version is ready.'}
      {!wall && <button onClick={() => location.reload()}>Reload now</button>}
    </div>
  )
}

/** The title counts what nobody has seen, for whoever has the page in another tab. */
function Title() {
  const mark = ['', '■', '◆', '●', '▨']
  useSignalEffect(() => {
    const unseen = store.unseen.value
    const stale = store.connection.value === 'stale'
    const worst = Math.min(...unseen.map((one) => one.priority), 9)
    const name = store.site.value.name || 'Andon'
    document.title = `${stale ? 'OLD · ' : ''}${unseen.length ? `${mark[worst] ?? ''} ${unseen.length} · ` : ''}${name} · Andon`
  })
  return null
}
