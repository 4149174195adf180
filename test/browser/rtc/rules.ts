/** The rules of links in a browser's realm: a worker (its page makes the hosts and the application's connections), or a page. */

import { createRtcTransport } from '../../../platform/browser/worker/rtc-transport.ts'
import type { HostPort } from '../../../platform/network/rtc-host-wire.ts'
import { type EndpointHarness, endpointRules } from '../../conformance/endpoint-suite.ts'
import { pollUntil, type RuleOutcome, runRules } from '../../conformance/rule.ts'
import { clock } from './driver.ts'

/** What the page does for one rule. */
export interface Hosts {
  readonly ports: readonly [HostPort, HostPort]
  /** Two connected RTCPeerConnections, lent by the two hosts. */
  adoptable(): Promise<readonly [unknown, unknown]>
  dispose(): void
}

async function harness(makeHosts: () => Promise<Hosts>): Promise<EndpointHarness> {
  const hosts = await makeHosts()
  const [a, b] = hosts.ports
  return {
    transports: [
      createRtcTransport(a, { clock, timeoutMs: 6_000 }),
      createRtcTransport(b, { clock, timeoutMs: 6_000 }),
    ],
    adoptable: () => hosts.adoptable(),
    until: pollUntil,
    dispose: async () => hosts.dispose(),
  }
}

export const runLinkRules = (makeHosts: () => Promise<Hosts>): Promise<RuleOutcome[]> =>
  runRules(endpointRules, () => harness(makeHosts))
