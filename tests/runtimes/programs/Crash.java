import java.lang.reflect.Field;

public class Crash {
    public static void main(String[] words) throws Exception {
        Field field = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        ((sun.misc.Unsafe) field.get(null)).putLong(1, 1);
    }
}
