/** Runs the rules of links in a worker; asks the page for hosts and connections, one request at a time. */
import type { HostPort } from '../../../platform/network/rtc-host-wire.ts'
import { runLinkRules } from './rules.ts'

const scope = globalThis as unknown as {
  onmessage: ((event: { data: unknown }) => void) | null
  postMessage(message: unknown): void
}

function ask(question: 'hosts' | 'adoptable' | 'dispose'): Promise<unknown> {
  return new Promise(resolve => {
    scope.onmessage = ({ data }) => resolve(data)
    scope.postMessage({ question })
  })
}

scope.postMessage({
  outcomes: await runLinkRules(async () => ({
    ports: (await ask('hosts')) as [HostPort, HostPort],
    adoptable: async () => (await ask('adoptable')) as [unknown, unknown],
    dispose: () => void ask('dispose'),
  })),
})
