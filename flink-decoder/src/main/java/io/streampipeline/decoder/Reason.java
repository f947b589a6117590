package io.streampipeline.decoder;

import org.apache.flink.table.data.StringData;

/** Why a record is refused, in the order of precedence. What needs the Kafka timestamp is decided in SQL. */
enum Reason {
    UNDECODABLE("Undecodable"),
    EMPTY_KEY("EmptyKey"),
    EVENT_TIME_OUT_OF_RANGE("EventTimeOutOfRange"),
    NOT_A_NUMBER("NotANumber"),
    OUT_OF_RANGE("OutOfRange");

    final String text;
    private final byte[] utf8;

    Reason(String text) {
        this.text = text;
        this.utf8 = text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    /** A StringData of its own each time: its lazy fields are not made for sharing between threads. */
    StringData toStringData() {
        return StringData.fromBytes(utf8);
    }
}
