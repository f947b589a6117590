package io.streampipeline.decoder;

import java.io.Serializable;

/**
 * One BIGINT column: a field of the record as a scaled integer.
 *
 * @param column name of the table's column
 * @param field name of the record's field
 * @param decimals the scale: the value is multiplied by 10^decimals
 */
record ScaledColumn(String column, String field, int decimals) implements Serializable {}
