/** The statements of the SQLites, in Node and in the browser. */
export const createRecords =
  'CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID'
export const putRecord = 'INSERT INTO records VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value'
export const getRecord = 'SELECT value FROM records WHERE key = ?'
export const scanRecords = 'SELECT key, value FROM records WHERE key >= ? ORDER BY key LIMIT ?'
