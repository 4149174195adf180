/** The strip under the header that says in which state this tab is when that is not simply "all is well". */
import { el, part, setData, setText } from './dom.ts'
import type { Situation } from './situation.ts'

export interface BannerAction {
  readonly testId: string
  readonly label: string
  readonly run: () => void
}

export interface Banner {
  update(situation: Situation, actions: readonly BannerAction[]): void
}

export function createBanner(): Banner {
  const strip = part('banner', HTMLElement)
  const title = part('banner-title', HTMLElement)
  const text = part('banner-text', HTMLElement)
  const buttons = part('banner-actions', HTMLElement)
  let shown = ''
  return {
    update(situation, actions) {
      const quiet = situation.title === undefined
      strip.hidden = quiet
      setData(strip, 'state', situation.name)
      setData(strip, 'tone', situation.tone)
      setText(title, situation.title ?? '')
      setText(text, situation.text)
      const wanted = actions.map(action => action.testId).join(' ')
      if (wanted === shown) return
      shown = wanted
      buttons.replaceChildren(
        ...actions.map((action, i) => {
          const made = el(
            'button',
            { type: 'button', 'data-testid': action.testId, class: i === 0 ? 'primary' : undefined },
            action.label,
          )
          made.addEventListener('click', action.run)
          return made
        }),
      )
    },
  }
}
