package io.streampipeline.decoder;

/** {@code YYYY-MM-DDTHH:MM:SS[.1-9 digits](Z|+hh:mm|-hh:mm)}, nothing else. */
final class Rfc3339 {
    private static final int[] DAYS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    private final String text;
    private int position;

    private Rfc3339(String text) {
        this.text = text;
    }

    /** Milliseconds since 1970 UTC; digits after the third of the fraction are cut off. */
    static long parse(String text) throws Malformed {
        return new Rfc3339(text).parse();
    }

    private long parse() throws Malformed {
        int year = number(4);
        expect('-');
        int month = number(2);
        expect('-');
        int day = number(2);
        check(month >= 1 && month <= 12);
        check(day >= 1 && day <= DAYS[month - 1] + (month == 2 && isLeap(year) ? 1 : 0));
        expect('T');
        int hour = number(2);
        expect(':');
        int minute = number(2);
        expect(':');
        int second = number(2);
        check(hour <= 23 && minute <= 59 && second <= 59);
        int millis = fraction();
        long offsetMinutes = offset();
        check(position == text.length());
        long minutes = daysFromEpoch(year, month, day) * 1440 + hour * 60L + minute - offsetMinutes;
        return (minutes * 60 + second) * 1000 + millis;
    }

    private int fraction() throws Malformed {
        if (peek() != '.') {
            return 0;
        }
        position++;
        int millis = 0;
        int digits = 0;
        for (; isDigit(peek()); position++, digits++) {
            if (digits < 3) {
                millis = millis * 10 + (peek() - '0');
            }
        }
        check(digits >= 1 && digits <= 9);
        for (int i = digits; i < 3; i++) {
            millis *= 10;
        }
        return millis;
    }

    private long offset() throws Malformed {
        char sign = peek();
        position++;
        if (sign == 'Z') {
            return 0;
        }
        check(sign == '+' || sign == '-');
        int hours = number(2);
        expect(':');
        int minutes = number(2);
        check(hours <= 23 && minutes <= 59);
        return (sign == '-' ? -1 : 1) * (hours * 60L + minutes);
    }

    private int number(int digits) throws Malformed {
        int value = 0;
        for (int i = 0; i < digits; i++, position++) {
            check(isDigit(peek()));
            value = value * 10 + (peek() - '0');
        }
        return value;
    }

    private void expect(char c) throws Malformed {
        check(peek() == c);
        position++;
    }

    /** The next character; NUL, which no rule accepts, at the end. */
    private char peek() {
        return position < text.length() ? text.charAt(position) : '\0';
    }

    private static boolean isDigit(char c) {
        return c >= '0' && c <= '9';
    }

    private static boolean isLeap(int year) {
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    }

    /** Proleptic Gregorian calendar, also for the year 0. */
    private static long daysFromEpoch(int year, int month, int day) {
        return java.time.LocalDate.of(year, month, day).toEpochDay();
    }

    private static void check(boolean condition) throws Malformed {
        if (!condition) {
            throw Malformed.INSTANCE;
        }
    }
}
