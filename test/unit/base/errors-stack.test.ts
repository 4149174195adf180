import { expect, it } from 'vitest'
import { HarmonyError, isHarmonyError, withoutStack } from '../../../src/base/errors.ts'

it('an error without a stack says the same, and the next one has its stack', () => {
  const limit = Error.stackTraceLimit
  const error = withoutStack(() => new HarmonyError('CONFLICT', 'gone'))
  expect(isHarmonyError(error, 'CONFLICT')).toBe(true)
  expect(String(error)).toBe('HarmonyError: gone')
  expect(error.stack).not.toContain('errors-stack.test')
  expect(Error.stackTraceLimit).toBe(limit)
  expect(new HarmonyError('CONFLICT', 'gone').stack).toContain('errors-stack.test')
  expect(() =>
    withoutStack(() => {
      throw new Error('while it was made')
    }),
  ).toThrow('while it was made')
  expect(Error.stackTraceLimit).toBe(limit)
})

it('where a realm lets the limit not be changed, the error has its stack', () => {
  const limit = Error.stackTraceLimit
  Object.defineProperty(Error, 'stackTraceLimit', { writable: false })
  try {
    expect(withoutStack(() => new HarmonyError('CONFLICT', 'gone')).stack).toContain('errors-stack.test')
  } finally {
    Object.defineProperty(Error, 'stackTraceLimit', { writable: true, value: limit })
  }
})
