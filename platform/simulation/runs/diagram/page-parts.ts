/** What the page of a diagram looks like, and the little that it does: hide kinds of things, and say what is pointed at. */

export const style = `
body { margin: 0; font: 12px system-ui, sans-serif; color: #1c2330; background: #fff; }
header { padding: 10px 14px 6px; max-width: 1250px; }
h1 { font-size: 17px; margin: 0 0 4px; }
p, ul { margin: 4px 0; }
.broken { color: #b00020; font-weight: 600; padding-left: 18px; }
.clean { color: #1d7a3a; }
.controls label { margin-right: 12px; }
.legend { margin-top: 6px; color: #445; line-height: 1.7; }
.legend span { margin-right: 14px; white-space: nowrap; }
.swatch { display: inline-block; width: 11px; height: 11px; margin-right: 4px; vertical-align: -1px; border: 1px solid #0002; }
.key { font-weight: 600; }
.names { position: sticky; top: 0; height: 26px; background: #fffffff0; border-bottom: 1px solid #bbc; z-index: 2; }
.names > * { position: absolute; top: 5px; text-align: center; }
.names b { font-size: 14px; }
footer { position: sticky; bottom: 0; min-height: 18px; padding: 5px 14px; background: #1c2330; color: #fff; font: 12px ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
svg { display: block; }
svg text { font: 10px system-ui, sans-serif; fill: #333; paint-order: stroke; stroke: #fff; stroke-width: 3px; stroke-linejoin: round; }
.tick line { stroke: #eef0f4; } .tick text { text-anchor: end; fill: #667; }
.follower rect, .swatch.follower { fill: #b9c2cf; background: #b9c2cf; }
.preCandidate rect, .swatch.preCandidate { fill: #f6dc8a; background: #f6dc8a; }
.candidate rect, .swatch.candidate { fill: #f29a2e; background: #f29a2e; }
.leader rect, .swatch.leader { fill: #1f63d6; background: #1f63d6; }
.starting rect { fill: #e6e9ee; }
.swatch.term { background: linear-gradient(hsl(137 65% 60%) 50%, hsl(274 65% 60%) 50%); width: 5px; }
.stretch text { font-weight: 600; }
.leader text { fill: #1f63d6; } .candidate text { fill: #b56200; } .preCandidate text { fill: #8a6d00; }
.down line { stroke: #c33; stroke-width: 1.5; stroke-dasharray: 2 5; } .down text { fill: #c33; }
.message path { fill: none; stroke-width: 1.2; }
.message path.reach { stroke: transparent; stroke-width: 7; }
.message:hover path:not(.reach) { stroke-width: 3; }
.message.append, .key.append { stroke: #3d7be0; color: #3d7be0; } marker.append path { fill: #3d7be0; }
.message.append.empty { stroke: #a5c2ee; }
.message.appendReply, .key.appendReply { stroke: #6fb3a8; color: #3f8d80; } marker.appendReply path { fill: #6fb3a8; }
.message.readIndex, .key.readIndex { stroke: #9a86c8; color: #9a86c8; } marker.readIndex path { fill: #9a86c8; }
.message.vote, .key.vote { stroke: #e0821a; color: #c96d05; } marker.vote path { fill: #e0821a; }
.message.vote path { stroke-width: 1.8; } .message.vote text { fill: #b56200; font-weight: 600; }
.message.rare, .key.rare { stroke: #b5359c; color: #b5359c; } marker.rare path { fill: #b5359c; } .message.rare text { fill: #b5359c; font-weight: 600; }
.message.heartbeat, .key.heartbeat { stroke: #c9ced6; color: #8a93a0; } marker.heartbeat path { fill: #c9ced6; }
.message.refused path { stroke-dasharray: 5 3; }
.message.copy path { stroke-dasharray: 1 3; }
.message.lost path.cross { stroke: #d3002d; stroke-width: 1.8; } .message.lost path { stroke-opacity: 0.75; } .key.lost { color: #d3002d; }
.message path.reach { stroke-dasharray: none; }
.commit line { stroke: #0c3; stroke-width: 1; } .commit text { fill: #1d7a3a; font-size: 9px; }
.configuration path { fill: #fff; stroke: #7a2fb8; stroke-width: 1.6; } .configuration text { fill: #7a2fb8; }
.start circle { fill: #fff; stroke: #1d7a3a; stroke-width: 2; } .snapshot circle { fill: #7a2fb8; } .truncate circle { fill: #fff; stroke: #d3002d; stroke-width: 2; }
.truncate text, .mark.crash text { fill: #d3002d; } .mark.crash path { stroke: #d3002d; stroke-width: 3; fill: none; }
.call rect { stroke: none; } .call text { font-size: 9px; }
.call.ok rect, .swatch.ok { fill: #35a35a; background: #35a35a; } .call.fail rect, .swatch.fail { fill: #d3002d; background: #d3002d; }
.call.info rect, .call.open rect, .swatch.info { fill: #d59f00; background: #d59f00; } .call.fail text { fill: #d3002d; } .call.info text { fill: #9c7400; }
.fault .band { fill: #eee; opacity: 0.55; } .fault .bar { fill: #888; } .fault text { fill: #555; }
.fault.cut .band, .swatch.cut { fill: #ffd9d4; background: #ffd9d4; } .fault.cut .bar { fill: #e0503c; }
.fault.freeze .band { fill: #bfe3f7; } .swatch.freeze { background: #bfe3f7; } .fault.freeze .bar { fill: #2f9bd3; }
.fault.disk .band, .swatch.disk { fill: #ffe3b5; background: #ffe3b5; } .fault.disk .bar { fill: #e09a1a; }
.fault.clock .band, .swatch.clock { fill: #ecdffb; background: #ecdffb; } .fault.clock .bar { fill: #9a6fd0; }
.fault.crash .bar { fill: #d3002d; } .fault.slow .bar, .fault.lossy .bar { fill: #b88a4a; }
.violation line { stroke: #d3002d; stroke-width: 1.6; } .violation circle { fill: none; stroke: #d3002d; stroke-width: 3; }
.violation text { font-size: 12px; font-weight: 700; fill: #d3002d; stroke-width: 5px; }
.no-heartbeat .message.heartbeat, .no-append .message.append, .no-appendReply .message.appendReply, .no-readIndex .message.readIndex, .no-call .call, .no-commit .commit { display: none; }
`

export const script = `
for (const box of document.querySelectorAll('input')) {
  const show = () => document.body.classList.toggle('no-' + box.dataset.what, !box.checked)
  box.addEventListener('change', show)
  show()
}
const footer = document.querySelector('footer')
document.querySelector('main').addEventListener('pointerover', event => {
  const title = event.target.closest('g')?.querySelector(':scope > title')
  if (title) footer.textContent = title.textContent
})
document.querySelector('#violation-0')?.scrollIntoView({ block: 'center' })
`
