-- The guards of the schema: constraints that are in force, unique indexes beside them, triggers that
-- are enabled, and what every function does. The table and name come first in each line.
SELECT format('%s.%s: %s', c.relname, k.conname, pg_get_constraintdef(k.oid, true)) COLLATE "C" AS guard
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
LEFT JOIN pg_index i ON i.indexrelid = k.conindid
WHERE c.relnamespace = current_schema()::regnamespace
    AND (k.contype = 'c' AND k.convalidated
        OR k.contype = 'f' AND k.convalidated
        OR k.contype IN ('p', 'u') AND i.indisunique AND i.indisvalid AND i.indisready)
UNION ALL
SELECT format('%s.%s: %s', c.relname, t.tgname,
    regexp_replace(pg_get_triggerdef(t.oid, true), '^CREATE TRIGGER \w+ (.*) ON [\w.]+ (REFERENCING|FOR) ', '\1 \2 '))
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = current_schema()::regnamespace AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
UNION ALL
SELECT format('%s.%s: UNIQUE %s', c.relname, x.relname,
    regexp_replace(pg_get_indexdef(x.oid, 0, true), '^.* USING \w+ ', ''))
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_class x ON x.oid = i.indexrelid
WHERE c.relnamespace = current_schema()::regnamespace AND i.indisunique AND i.indisvalid AND i.indisready
    AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
UNION ALL
SELECT format('%s(): %s', f.proname, left(encode(sha256(convert_to(f.prosrc, 'UTF8')), 'hex'), 16))
FROM pg_proc f
WHERE f.pronamespace = current_schema()::regnamespace
ORDER BY guard
