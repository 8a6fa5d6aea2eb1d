DROP TABLE refunds;
DROP TABLE payment_references;
DROP TABLE payments;
DROP FUNCTION refuse_refund_without_its_key();
DROP FUNCTION refuse_reviving_a_refund();
DROP FUNCTION refuse_illegal_transition();
DROP FUNCTION payment_transitions();
DROP FUNCTION refuse_payment_without_its_key();
DELETE FROM schema_versions WHERE version = 4;
