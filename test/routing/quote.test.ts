// Covers src/routing/raw-request.ts
import t from 'tap'
import { quote } from '../../src/routing/raw-request.ts'

t.test('A quoted value is short and holds nothing that a log or terminal would act on', async (t) => {
  const cases: [string, string][] = [
    ['evil.com', '"evil.com"'],
    ['', '""'],
    ['a"b\r\nc\u001b[31m', '"abc[31m"'],
    ['a\u202eb\u2066c\ufeff\u0085', '"abc"'],
    ['x'.repeat(80), `"${'x'.repeat(80)}"`],
    ['x'.repeat(5000), `"${'x'.repeat(80)}…"`],
    [`${'x'.repeat(79)}😀`, `"${'x'.repeat(79)}\ufffd…"`],
  ]
  for (const [value, quoted] of cases) t.equal(quote(value), quoted)
})
