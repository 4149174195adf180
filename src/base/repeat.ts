/**
 * A loop over steps that may or may not have to wait: `step` calls `again` when it is done, at once or later, and not at all to end the loop. A loop instead of
 * recursion: where steps complete at once, thousands come in one turn, and would exhaust the stack.
 */
export function repeat(step: (again: () => void) => void): void {
  let looping = false
  let due = true
  const loop = (): void => {
    if (looping) return
    looping = true
    while (due) {
      due = false
      step(again)
    }
    looping = false
  }
  const again = (): void => {
    due = true
    loop()
  }
  loop()
}
