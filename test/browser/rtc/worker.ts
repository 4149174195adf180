/** The driver in a dedicated worker. The first message brings the port to the page's host. */
import type { HostPort } from '../../../platform/network/rtc-host-wire.ts'
import { answer, Driver, type StartOptions } from './driver.ts'

interface Begin {
  readonly options: StartOptions
  readonly rtcPort: HostPort
}
interface Call {
  readonly call: number
  readonly name: string
  readonly args: readonly unknown[]
}

const scope = globalThis as unknown as {
  onmessage: ((event: { data: Begin | Call }) => void) | null
  postMessage(message: unknown): void
}
let driver: Driver | undefined

scope.onmessage = ({ data }) => {
  if ('rtcPort' in data) {
    driver = new Driver(data.rtcPort, data.options)
    return
  }
  answer(driver!, data.name, data.args).then(
    value => scope.postMessage({ call: data.call, value }),
    (error: unknown) => scope.postMessage({ call: data.call, error: String(error) }),
  )
}
