import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { readSettings } from '../../../demo/settings.ts'

it('the Node peer of `npm start` is in the room that the page opens by itself', () => {
  const script = readFileSync(new URL('../../../demo/start.mjs', import.meta.url), 'utf8')
  const { room, secret } = readSettings(new URL('http://127.0.0.1:8080/'))
  expect(script).toContain(`const room = '${room}'\n`)
  expect(script).toContain(`const secret = '${secret}'\n`)
})
