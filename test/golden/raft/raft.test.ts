/** Runs the transcripts beside this file. After a wanted change of behaviour: UPDATE_GOLDEN=1, and read what changed. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseBlocks, printBlocks, runScript } from './script.ts'

const folder = import.meta.dirname
const update = process.env.UPDATE_GOLDEN === '1'

describe('transcripts of the consensus core', () => {
  for (const name of readdirSync(folder).filter(file => file.endsWith('.txt'))) {
    test(name, () => {
      const path = join(folder, name)
      const text = readFileSync(path, 'utf8')
      const printed = printBlocks(runScript(parseBlocks(text)))
      if (update) writeFileSync(path, printed)
      else expect(printed).toBe(text)
    })
  }
})
