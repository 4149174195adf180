/** Calls functions of a module in a page. */
import type { Page } from '@playwright/test'

/** @param module As the page finds it: `./open-page.ts`. */
export function callsTo<Here>(module: string) {
  return (page: Page, name: keyof Here & string, ...args: unknown[]): Promise<unknown> =>
    page.evaluate(
      async ([from, called, given]) => {
        const here = (await import(from)) as Record<string, (...args: unknown[]) => unknown>
        return here[called]!(...given)
      },
      [module, name, args] as const,
    )
}
