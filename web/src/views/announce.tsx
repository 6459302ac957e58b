// Whether announcements arrive: one button that sends a test message, and what every channel said.
import { useSignal } from '@preact/signals'
import { api, Refused, type Tested } from '../api'
import { Shape, useOffline, who } from './parts'

export function Announcements() {
  const rows = useSignal<Tested[] | null>(null)
  const busy = useSignal(false)
  const said = useSignal('')
  const offline = useOffline()
  const send = async () => {
    const person = await who()
    if (!person || busy.value) return
    busy.value = true
    said.value = ''
    rows.value = null
    try {
      rows.value = (await api.testAnnouncements(person)).items
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      // Without an answer, or after half of one, the message may be out.
      const denied = error.status >= 400 && error.status < 500
      said.value = denied ? `Not sent. ${error.message}` : `${error.message} Whether a message was sent is not known.`
    } finally {
      busy.value = false
    }
  }
  return (
    <section class="panel">
      <h2>Announcements</h2>
      <p class="quiet">Where alarms go besides this screen. The message says that it is a test.</p>
      <div class="actions">
        <button disabled={busy.value || offline.value} onClick={() => void send()}>
          Send a test message
        </button>
        {offline.value && <span class="quiet">Not now: the server is away.</span>}
      </div>
      {said.value && (
        <p role="alert" class="bad">
          {said.value}
        </p>
      )}
      <div role="status">
        {busy.value && <p class="quiet">Sending…</p>}
        {rows.value && <Results rows={rows.value} />}
      </div>
    </section>
  )
}

function Results({ rows }: { rows: Tested[] }) {
  if (rows.length === 0) return <p>No announcements are configured: add [[announce]] to the plant file.</p>
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Test message">
      <table>
        <thead>
          <tr>
            <th>Channel</th>
            <th>Test message</th>
            <th>Detail</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.channel}>
              <td>
                <strong>{row.channel}</strong>
              </td>
              <td>
                <span class={`source ${row.ok ? 'up' : 'down'}`}>
                  {!row.ok && <Shape priority={4} />} {row.ok ? 'Sent' : 'Not sent'}
                </span>
              </td>
              <td class="error">{row.detail}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
